CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE VIEW result AS SELECT id FROM t;
SELECT id FROM t;
