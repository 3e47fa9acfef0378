-- what: TIMESTAMP into a column of DATE
CREATE TABLE times (id INT, d DATE, t TIME, ts TIMESTAMP(3), ts0 TIMESTAMP(0), ts6 TIMESTAMP(6), ltz TIMESTAMP_LTZ(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/times.jsonl', 'format' = 'json');
CREATE TABLE sink (a DATE) WITH ('connector' = 'print');
INSERT INTO sink SELECT ts FROM times;
