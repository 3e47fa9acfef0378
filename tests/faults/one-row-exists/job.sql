CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM t);
