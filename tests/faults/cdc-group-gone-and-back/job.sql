CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (n BIGINT, m BIGINT, l STRING, f STRING, ma STRING, nd BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT COUNT(*), COUNT(v), LISTAGG(v), FIRST_VALUE(v), MAX(v), COUNT(DISTINCT v) FROM t;
