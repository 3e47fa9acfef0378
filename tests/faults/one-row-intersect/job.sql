CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT id FROM t INTERSECT SELECT id FROM t;
