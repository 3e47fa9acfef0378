CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT id, ROW_NUMBER() OVER (PARTITION BY id ORDER BY a) FROM t;
