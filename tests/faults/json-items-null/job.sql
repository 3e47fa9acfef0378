CREATE TABLE t (a ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT, y STRING>, k INT) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
CREATE TABLE dst (a ARRAY<INT>, m MAP<STRING, INT>, r ROW<x INT, y STRING>, k INT) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
