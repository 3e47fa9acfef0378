CREATE TABLE dst (v INT) WITH ('connector' = 'print');
INSERT INTO dst SELECT /*+ BROADCAST(t) */ v FROM (VALUES (1)) AS t(v);
