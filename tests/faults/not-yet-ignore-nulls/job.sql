CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT FIRST_VALUE(id) IGNORE NULLS FROM t;
