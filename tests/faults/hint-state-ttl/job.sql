CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT /*+ STATE_TTL('x' = '1 s') */ a, COUNT(*) FROM t GROUP BY a;
