CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT LISTAGG(a) WITHIN GROUP (ORDER BY id) FROM t;
