CREATE TABLE t (a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.escape-character' = '\');
CREATE TABLE dst (a STRING, b STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT REPLACE(REPLACE(REPLACE(a, CHR(10), '<n>'), CHR(13), '<r>'), CHR(9), '<t>'), REPLACE(REPLACE(b, CHR(10), '<n>'), CHR(13), '<r>') FROM t;
