CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (n BIGINT, l STRING, f STRING, la STRING, aa ARRAY<STRING>, j STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT COUNT(v), LISTAGG(v), FIRST_VALUE(v), LAST_VALUE(v), ARRAY_AGG(v), JSON_ARRAYAGG(v) FROM t;
