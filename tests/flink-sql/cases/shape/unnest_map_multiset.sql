-- what: UNNEST of a map, a multiset and an array of rows
CREATE VIEW v AS
SELECT id, tags, CASE WHEN id = 1 THEN MAP['k', 1, 'l', 2] END AS m,
  CASE WHEN id < 3 THEN ARRAY[ROW(1, 'x'), ROW(id, CAST(NULL AS STRING))] END AS rs
FROM (VALUES (1, ARRAY['a', 'b']), (2, CAST(NULL AS ARRAY<STRING>)), (3, ARRAY['c', CAST(NULL AS STRING)])) AS s (id, tags);

CREATE TABLE sink (id INT, k STRING, x INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT id, t.k, t.x FROM v CROSS JOIN UNNEST(m) AS t (k, x)
UNION ALL
SELECT 10 + id, t.`KEY`, t.`VALUE` FROM v CROSS JOIN UNNEST(m) AS t
UNION ALL
SELECT 20 + id, b, a FROM v, UNNEST(ARRAY[ROW(1, 'a'), CAST(NULL AS ROW<a INT, b STRING>)]) AS t (a, b)
UNION ALL
SELECT 30 + n, CAST(NULL AS STRING), x
FROM (SELECT COUNT(*) AS c, MAX(id) AS n, COLLECT(id / 2) AS ids FROM v) AS g, UNNEST(g.ids) AS t (x);
