CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE w (id INT) DISTRIBUTED BY (id) INTO 4 BUCKETS WITH ('connector' = 'print');
