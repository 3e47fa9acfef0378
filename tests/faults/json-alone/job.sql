CREATE TABLE dst (v STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT JSON('{}');
