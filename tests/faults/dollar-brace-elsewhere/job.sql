-- ${nothing}
CREATE TABLE t (id INT, `${x}` STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.field-delimiter' = '${DELIMITER}');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT id, `${x}` || '${y}' FROM t;
