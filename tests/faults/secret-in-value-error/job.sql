CREATE TABLE t (a STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '${SECRET}');
SELECT a FROM t;
