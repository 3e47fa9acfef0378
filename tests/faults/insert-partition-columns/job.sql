CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (id INT, p INT, a STRING, more STRING) PARTITIONED BY (p) WITH ('connector' = 'print');
INSERT INTO dst PARTITION (p = '7') (a, id) SELECT a, id FROM t;
