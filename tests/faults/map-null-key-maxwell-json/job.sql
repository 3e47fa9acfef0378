CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (id INT, m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'maxwell-json', 'maxwell-json.map-null-key.mode' = 'LITERAL');
INSERT INTO dst SELECT 1, MAP[s, 1, n, 2] FROM src;
