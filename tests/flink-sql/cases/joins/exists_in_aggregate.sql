-- what: EXISTS in the argument of an aggregate
CREATE TABLE sales (id INT, region STRING, product STRING, qty INT, price DECIMAL(10, 2), discount DOUBLE, customer STRING, `day` DATE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE customers (id STRING, name STRING, city STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = '${DATA}/customers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`n` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT SUM(CASE WHEN EXISTS (SELECT 1 FROM customers c WHERE c.id = s.customer) THEN 1 ELSE 0 END) n FROM sales s;
