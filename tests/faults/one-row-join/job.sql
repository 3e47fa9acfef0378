CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT x.id FROM t x JOIN t y ON x.id = y.id;
