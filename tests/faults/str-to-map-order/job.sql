CREATE TABLE src (s STRING, t STRING, n STRING, i INT, j INT, ni INT, d DOUBLE, d2 DOUBLE, z DOUBLE, p DOUBLE, n2 STRING, s2 STRING)
WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
CREATE TABLE dst (c0 STRING, c1 STRING, c2 STRING, c3 STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT
  CAST(STR_TO_MAP('zebra=1,apple=2,kiwi=3,Mango=4,fig=5') AS STRING),
  CAST(STR_TO_MAP('a=1,b=2,a=3') AS STRING),
  CAST(STR_TO_MAP('a=1,=2,b') AS STRING),
  CAST(STR_TO_MAP('k1=1,k2=2,k3=3,k4=4,k5=5,k6=6,k7=7,k8=8,k9=9,k10=10,k11=11,k12=12,k13=13,k14=14,k15=15,k16=16,k17=17') AS STRING)
FROM src;
