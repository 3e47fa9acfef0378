CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (id INT, m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json', 'json.map-null-key.mode' = 'LITERAL');
INSERT INTO dst VALUES (1, MAP['a', 1, CAST(NULL AS STRING), 2]), (1, MAP['null', 1, CAST(NULL AS STRING), 2]), (1, MAP[CAST(NULL AS STRING), 1, 'x', 3, 'null', 2]);
