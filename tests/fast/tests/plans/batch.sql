SET 'execution.runtime-mode' = 'batch';
CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE o (b STRING, n BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT b, COUNT(*) FROM t GROUP BY b;
INSERT INTO o SELECT DISTINCT b, 1 FROM t;
