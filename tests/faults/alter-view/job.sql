CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE VIEW v AS SELECT 5 AS id, a FROM t;
ALTER VIEW v AS SELECT id + 1 AS id, a FROM t;
ALTER VIEW v RENAME TO w;
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM w;
