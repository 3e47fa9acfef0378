CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t /*+ OPTIONS('csv.ignore-parse-errors' = 'true') */ UNION ALL SELECT * FROM t /*+ OPTIONS('csv.field-delimiter' = ';', 'csv.ignore-parse-errors' = 'true') */;
