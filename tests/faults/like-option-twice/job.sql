CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE u WITH ('format' = 'json') LIKE t (INCLUDING OPTIONS);
SELECT * FROM u;
