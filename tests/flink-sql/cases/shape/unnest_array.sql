-- what: UNNEST of an array behind CROSS JOIN, a comma, and alone
CREATE VIEW v AS
SELECT id, tags, CASE WHEN id = 1 THEN MAP['k', 1, 'l', 2] END AS m,
  CASE WHEN id < 3 THEN ARRAY[ROW(1, 'x'), ROW(id, CAST(NULL AS STRING))] END AS rs
FROM (VALUES (1, ARRAY['a', 'b']), (2, CAST(NULL AS ARRAY<STRING>)), (3, ARRAY['c', CAST(NULL AS STRING)])) AS s (id, tags);

CREATE TABLE sink (id INT, x STRING, y STRING) WITH ('connector' = 'print');

INSERT INTO sink
SELECT id, tag, CAST(NULL AS STRING) FROM v CROSS JOIN UNNEST(tags) AS t (tag)
UNION ALL
SELECT 10 + id, a, CAST(b AS STRING) FROM v, UNNEST(v.tags) AS t (a), UNNEST(rs) AS u (b, c)
UNION ALL
SELECT 20, CAST(x AS STRING), '' FROM UNNEST(ARRAY[1, 2, 3]) AS t (x)
UNION ALL
SELECT 30 + id, tag, 'named by the alias' FROM v CROSS JOIN UNNEST(tags) tag
UNION ALL
SELECT 40 + id, CAST(x AS STRING), 'computed' FROM v, UNNEST(ARRAY[id, id + 1]) AS t (x) WHERE x > 1
UNION ALL
SELECT 50 + id, 'nothing of it is read', '' FROM v, UNNEST(tags) AS t (x);
