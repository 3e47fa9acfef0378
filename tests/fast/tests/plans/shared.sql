CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE o (a INT, b STRING) WITH ('connector' = 'print');
CREATE VIEW v AS SELECT a * 2 AS a, b FROM t WHERE a > 0;
INSERT INTO o WITH w AS (SELECT a, b FROM v) SELECT a, b FROM w WHERE b = 'x' UNION ALL SELECT a + 1, b FROM w UNION ALL SELECT a, b FROM v;
INSERT INTO o VALUES (1, 'a'), (2, 'b');
