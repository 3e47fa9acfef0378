CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json', 'scan.parallelism' = '4');
CREATE TABLE dst (id INT, n BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT id, COUNT(*) FROM t GROUP BY id;
