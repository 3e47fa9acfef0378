CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (a, id) WITH ('connector' = 'print') AS SELECT id, a FROM t;
