CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (c0 BOOLEAN, c1 BOOLEAN, c2 BOOLEAN, c3 BOOLEAN, c4 BOOLEAN, c5 BOOLEAN, c6 BOOLEAN, c7 BOOLEAN, c8 BOOLEAN, c9 BOOLEAN, c10 BOOLEAN, c11 BOOLEAN, c12 BOOLEAN, c13 BOOLEAN, c14 INT, c15 INT, c16 INT, c17 STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT
  MAP[n, i] = MAP[n2, 1],
  MAP[n, 1] = MAP[s, 1],
  MAP[n, 1] <> MAP[s, 1],
  MAP[s, ni] = MAP[s2, ni],
  MAP[d, i] = MAP[d2, 1],
  MAP[s, d] = MAP[s2, d2],
  MAP[z, i] = MAP[p, 1],
  MAP[s, i, n, j] = MAP[n2, j, s2, i],
  MAP[n, i] IS NOT DISTINCT FROM MAP[n2, 1],
  MAP[s, ni] IS NOT DISTINCT FROM MAP[s2, ni],
  ROW(MAP[n, i]) = ROW(MAP[n2, 1]),
  ARRAY[MAP[n, i]] = ARRAY[MAP[n2, 1]],
  ARRAY_CONTAINS(ARRAY[MAP[n, i]], MAP[n2, 1]),
  ARRAY_CONTAINS(ARRAY[MAP[s, ni]], MAP[s2, ni]),
  ARRAY_POSITION(ARRAY[MAP[s, 1], MAP[n, 1]], MAP[n2, 1]),
  MAP[d, i][d2],
  MAP[z, i][p],
  CAST(MAP[z, 1, p, 2] AS STRING)
FROM src;
