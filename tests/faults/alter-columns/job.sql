CREATE TABLE t (id INT, a STRING, gone INT) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.field-delimiter' = ';');
ALTER TABLE t RESET ('csv.field-delimiter');
ALTER TABLE t DROP gone;
ALTER TABLE t ADD n INT AFTER id;
ALTER TABLE t MODIFY n BIGINT;
ALTER TABLE t RENAME a TO b;
ALTER TABLE t ADD (m AS n + 1);
CREATE TABLE dst (id INT, n BIGINT, b STRING, m BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
