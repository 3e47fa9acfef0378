CREATE TABLE dst (x BOOLEAN, n BIGINT) WITH ('connector' = 'print');
CREATE TABLE twice (a INT, n BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT s = 'x', COUNT(*) FILTER (WHERE s = 'x') FROM (VALUES (1, 10, 'x'), (1, 20, 'y'), (2, 30, 'x'), (CAST(NULL AS INT), 40, 'z')) AS t (a, b, s) GROUP BY ROLLUP (s = 'x');
INSERT INTO twice SELECT a, COUNT(*) FROM (VALUES (1, 10, 'x'), (1, 20, 'y'), (2, 30, 'x'), (CAST(NULL AS INT), 40, 'z')) AS t (a, b, s) GROUP BY ROLLUP (a, a);
