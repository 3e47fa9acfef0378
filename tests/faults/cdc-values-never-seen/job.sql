CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (n BIGINT, l STRING, f STRING, la STRING, mi STRING, ma STRING, nd BIGINT, ld STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT COUNT(*), LISTAGG(v), FIRST_VALUE(v), LAST_VALUE(v), MIN(v), MAX(v), COUNT(DISTINCT v), LISTAGG(DISTINCT v) FROM t;
