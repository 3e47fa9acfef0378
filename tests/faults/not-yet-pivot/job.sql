CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT * FROM t PIVOT (SUM(id) FOR a IN ('x'));
