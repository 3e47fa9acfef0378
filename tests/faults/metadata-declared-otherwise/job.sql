CREATE TABLE t (id INT, s STRING METADATA FROM 'file.size', n STRING METADATA FROM 'file.name') WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE c (id INT, e STRING METADATA FROM 'event-timestamp', k ARRAY<STRING> METADATA FROM 'pk-names', q MAP<STRING, INT> METADATA FROM 'sql-type') WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'canal-json');
CREATE TABLE dst (id INT, a STRING, b STRING, c INT) WITH ('connector' = 'print');
INSERT INTO dst SELECT id, s, n, CAST(NULL AS INT) FROM t UNION ALL SELECT id, e, k[1], q['id'] FROM c;
