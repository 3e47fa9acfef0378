SET 'table.exec.sink.type-length-enforcer' = 'ERROR';
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS';
CREATE TABLE t (a ROW<x VARCHAR(2)>) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');
CREATE TABLE dst (a ROW<x VARCHAR(2)>) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM t;
