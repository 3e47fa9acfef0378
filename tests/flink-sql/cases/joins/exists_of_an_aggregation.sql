-- what: an aggregation without keys always has a row
CREATE TABLE sales (id INT, region STRING, product STRING, qty INT, price DECIMAL(10, 2), discount DOUBLE, customer STRING, `day` DATE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE customers (id STRING, name STRING, city STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = '${DATA}/customers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`id` STRING) WITH ('connector' = 'print');
INSERT INTO sink
SELECT c.id FROM customers c WHERE EXISTS (SELECT COUNT(*) FROM sales s WHERE s.customer = c.id);
