CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
SELECT x.id FROM t x, LATERAL TABLE(f(x.a)) AS u(v);
