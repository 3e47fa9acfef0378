CREATE TABLE dst (id INT, p STRING) PARTITIONED BY (p) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO dst VALUES (1, REPEAT('/', 90)), (2, REPEAT('/', 91)), (3, REPEAT('ä', 200)), (4, REPEAT('x', 5000)), (5, ''), (6, CAST(NULL AS STRING)), (7, '..');
