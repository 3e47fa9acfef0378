CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE x (id INT, method STRING) WITH ('connector' = 'print');
SELECT id FROM t;
