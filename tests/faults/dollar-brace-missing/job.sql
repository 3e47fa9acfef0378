CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = '${NO_SUCH_VARIABLE_HERE}', 'format' = 'csv');
SELECT * FROM t;
