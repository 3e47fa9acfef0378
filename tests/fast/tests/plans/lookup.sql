CREATE TABLE t (a INT, b STRING, p AS PROCTIME()) WITH ('connector' = 'datagen');
CREATE TABLE d (k INT, v STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://none/x', 'table-name' = 'd');
CREATE TABLE o (a INT, v STRING) WITH ('connector' = 'print');
INSERT INTO o SELECT t.a, d.v FROM t LEFT JOIN d FOR SYSTEM_TIME AS OF t.p AS d ON t.a = d.k;
