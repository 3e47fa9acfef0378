CREATE TABLE dst (v BOOLEAN) WITH ('connector' = 'print');
INSERT INTO dst SELECT 'a%b' SIMILAR TO 'a%%b' ESCAPE '%';
