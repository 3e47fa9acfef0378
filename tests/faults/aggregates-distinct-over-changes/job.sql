CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (n BIGINT, l STRING, f STRING, la STRING, aa ARRAY<STRING>) WITH ('connector' = 'print');
INSERT INTO dst SELECT COUNT(DISTINCT v), LISTAGG(DISTINCT v), FIRST_VALUE(DISTINCT v), LAST_VALUE(DISTINCT v), ARRAY_AGG(DISTINCT v) FROM t;
