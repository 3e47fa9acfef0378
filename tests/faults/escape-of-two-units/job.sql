CREATE TABLE dst (v BOOLEAN) WITH ('connector' = 'print');
INSERT INTO dst SELECT 'a😀' LIKE 'a😀😀' ESCAPE '😀';
