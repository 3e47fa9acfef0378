CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'datagen');
CREATE TABLE o (b STRING, n BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://none/x',
  'table-name' = 'o');
INSERT INTO o SELECT b, COUNT(*) FROM t GROUP BY b;
