CREATE TABLE t (a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.allow-comments' = 'true', 'csv.escape-character' = '\');
CREATE TABLE dst (a STRING, b STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
