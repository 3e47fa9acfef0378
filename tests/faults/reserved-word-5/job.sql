CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
WITH day AS (SELECT id FROM t) SELECT id FROM day;
SELECT id FROM t;
