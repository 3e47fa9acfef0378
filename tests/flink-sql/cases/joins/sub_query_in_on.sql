-- what: a scalar sub-query in ON
CREATE TABLE products (name STRING, category STRING, supplier STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/products.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE suppliers (id STRING, name STRING, rating INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/suppliers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`id` STRING, `name` STRING) WITH ('connector' = 'print');
INSERT INTO sink
SELECT a.id, b.name FROM suppliers a JOIN products b ON a.id = b.supplier AND a.rating > (SELECT AVG(rating) FROM suppliers);
