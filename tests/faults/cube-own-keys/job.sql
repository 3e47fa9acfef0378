CREATE TABLE dst (a INT, s STRING, sa INT, ca BIGINT, cd BIGINT, ma INT, f BIGINT, l STRING, g BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT a, s, SUM(a), COUNT(a), COUNT(DISTINCT s), MAX(a), COUNT(*) FILTER (WHERE s = 'x'), LISTAGG(s), GROUPING_ID(a, s) FROM (VALUES (1, 10, 'x'), (1, 20, 'y'), (2, 30, 'x'), (CAST(NULL AS INT), 40, 'z')) AS t (a, b, s) GROUP BY CUBE (a, s);
