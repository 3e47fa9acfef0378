CREATE TABLE t (t TIMESTAMP(3), l TIMESTAMP_LTZ(3), d DATE, c TIME(3)) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
CREATE TABLE dst (t TIMESTAMP(3), l TIMESTAMP_LTZ(3), d DATE, c TIME(3)) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
