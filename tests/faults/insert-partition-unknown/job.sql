CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst PARTITION (a = 'x') SELECT id FROM t;
