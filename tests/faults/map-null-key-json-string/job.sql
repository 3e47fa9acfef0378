CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (j STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT JSON_STRING(MAP[n, 1]) FROM src;
