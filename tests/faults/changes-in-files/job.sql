CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'canal-json', 'scan.parallelism' = '3');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT id, LAST_VALUE(a) FROM t GROUP BY id;
