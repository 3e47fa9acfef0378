-- what: EXISTS in ON
CREATE TABLE set_a (k INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/set_a.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE set_b (k INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/set_b.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE suppliers (id STRING, name STRING, rating INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/suppliers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`k` INT, `k0` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT a.k, b.k FROM set_a a JOIN set_b b ON a.k = b.k AND EXISTS (SELECT 1 FROM suppliers);
