CREATE TABLE t (a STRING, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:1/db?user=me&password=kept-words-4', 'table-name' = 't');
SHOW CREATE TABLE t;
SELECT a FROM t;
