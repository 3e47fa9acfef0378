-- what: a comparison with ANY
CREATE TABLE sales (id INT, region STRING, product STRING, qty INT, price DECIMAL(10, 2), discount DOUBLE, customer STRING, `day` DATE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE suppliers (id STRING, name STRING, rating INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/suppliers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`id` INT, `qty` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT id, qty FROM sales WHERE qty < ANY (SELECT rating FROM suppliers);
