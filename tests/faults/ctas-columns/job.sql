CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (more STRING, id BIGINT, twice AS id * 2) WITH ('connector' = 'print') AS SELECT id, a FROM t;
