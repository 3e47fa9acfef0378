CREATE TABLE dst (v ARRAY<STRING>) WITH ('connector' = 'print');
INSERT INTO dst SELECT ARRAY_AGG(REPEAT(v, 60000000)) FROM (VALUES ('a'), ('b')) AS t(v);
