CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE u WITH ('csv.field-delimiter' = ';') LIKE t;
CREATE TABLE v LIKE u (INCLUDING ALL);
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM v;
