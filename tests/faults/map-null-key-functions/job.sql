CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (c0 ARRAY<STRING>, c1 ARRAY<INT>, c2 ARRAY<ROW<k STRING, v INT>>, c3 INT, c4 INT, c5 INT, c6 INT, c7 INT, c8 MAP<STRING, INT>, c9 STRING, c10 MAP<STRING, INT>) WITH ('connector' = 'print');
INSERT INTO dst SELECT
  MAP_KEYS(MAP[n, 1, s, 2]),
  MAP_VALUES(MAP[n, 1, s, 2]),
  MAP_ENTRIES(MAP[n, 1, s, 2]),
  CARDINALITY(MAP[n, 1, s, 2]),
  CARDINALITY(MAP[n, 1, n, 2]),
  MAP[n, i][n],
  MAP[s, i, n, j][s],
  MAP[n, i]['a'],
  MAP_FROM_ARRAYS(ARRAY[n, s], ARRAY[1, 2]),
  ELEMENT(MAP_KEYS(MAP[n, 1])),
  MAP_UNION(MAP[n, 1], CAST(NULL AS MAP<STRING, INT>))
FROM src;
