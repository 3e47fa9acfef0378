CREATE TABLE dst (f STRING, l STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT FIRST_VALUE(DISTINCT v), LAST_VALUE(DISTINCT v) FROM (VALUES ('b'), ('c'), ('a'), ('c'), ('b')) AS t (v);
