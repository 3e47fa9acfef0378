CREATE TABLE t (l BIGINT, i INT, s SMALLINT, d DOUBLE, b BOOLEAN, c DECIMAL(10, 2)) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
CREATE TABLE dst (l BIGINT, i INT, s SMALLINT, d DOUBLE, b BOOLEAN, c DECIMAL(10, 2)) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
