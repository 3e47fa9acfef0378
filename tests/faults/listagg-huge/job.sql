CREATE TABLE dst (v STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT LISTAGG(REPEAT(v, 60000000)) FROM (VALUES ('a'), ('b')) AS t(v);
