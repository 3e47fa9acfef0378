CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE o (b STRING, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o /*+ OPTIONS('uid' = 'per-b') */ SELECT b, COUNT(*) FROM t GROUP BY b;
INSERT INTO o SELECT b, COUNT(*) FROM t GROUP BY b;
