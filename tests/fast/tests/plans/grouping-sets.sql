CREATE TABLE t (a INT, b STRING, c INT) WITH ('connector' = 'datagen');
CREATE TABLE o (a INT, b STRING, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT a, b, SUM(c) FROM t GROUP BY ROLLUP (a, b);
INSERT INTO o SELECT a, b, COUNT(*) FROM t GROUP BY GROUPING SETS ((a), (b), ());
