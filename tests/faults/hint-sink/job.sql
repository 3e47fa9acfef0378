CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst /*+ OPTIONS('print-identifier' = 'here') */ SELECT * FROM t /*+ OPTIONS('csv.field-delimiter' = ',') */ AS x;
