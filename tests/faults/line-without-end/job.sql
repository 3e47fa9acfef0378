CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'on-error' = 'skip');
CREATE TABLE c (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'on-error' = 'skip');
CREATE TABLE dst (id INT) WITH ('connector' = 'print');
INSERT INTO dst SELECT id FROM t UNION ALL SELECT id FROM c;
