CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (c0 BOOLEAN, c1 BOOLEAN, c2 BOOLEAN, c3 BOOLEAN, c4 BOOLEAN) WITH ('connector' = 'print');
INSERT INTO dst SELECT
  ARRAY[d, p, z, CAST(NULL AS DOUBLE), d] = ARRAY[d2, p, z, CAST(NULL AS DOUBLE), d2],
  ARRAY[d, p, z, CAST(NULL AS DOUBLE), d] <> ARRAY[d2, p, z, CAST(NULL AS DOUBLE), d2],
  ARRAY[d, p, z, CAST(NULL AS DOUBLE), d] = ARRAY[d, z],
  ARRAY[d, z] = ARRAY[d2, z],
  ARRAY[d, p, z, CAST(NULL AS DOUBLE), d] IS NOT DISTINCT FROM ARRAY[d2, p, z, CAST(NULL AS DOUBLE), d2]
FROM src;
