CREATE TABLE t (d DECIMAL(38, 18)) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');
CREATE TABLE dst (s DECIMAL(38, 18), a DECIMAL(38, 18), sd DECIMAL(38, 18), n BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT SUM(d), AVG(d), SUM(DISTINCT d), COUNT(d) FROM t;
