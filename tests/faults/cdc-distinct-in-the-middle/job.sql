CREATE TABLE t (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (v STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT DISTINCT v FROM t;
