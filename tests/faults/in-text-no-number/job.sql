CREATE TABLE dst (v BOOLEAN) WITH ('connector' = 'print');
INSERT INTO dst SELECT CAST(v AS INT) IN ('x') FROM (VALUES ('1')) AS t(v);
