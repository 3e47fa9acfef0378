CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (c0 MAP<STRING, INT>, c1 MAP<STRING, INT>, c2 ROW<a MAP<STRING, INT>, b STRING>, c3 MAP<STRING, MAP<INT, STRING>>, c4 MAP<ROW<a STRING, b INT>, INT>, c5 MAP<TIMESTAMP(3), INT>, c6 MAP<BYTES, INT>) WITH ('connector' = 'print');
INSERT INTO dst SELECT
  MAP[n, 1],
  MAP[s, 1, n, 2],
  ROW(MAP[n, 1], n),
  MAP[n, MAP[ni, n]],
  MAP[ROW(n, 1), 1],
  MAP[CAST(NULL AS TIMESTAMP(3)), 1],
  MAP[CAST(NULL AS BYTES), 1]
FROM src;
