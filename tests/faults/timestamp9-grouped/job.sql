CREATE TABLE t (t TIMESTAMP(9)) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');
CREATE TABLE dst (t TIMESTAMP(9), s STRING, n BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT t, DATE_FORMAT(t, 'yyyy SSSSSSSSS'), COUNT(*) FROM t WHERE t < TIMESTAMP '9999-12-31 23:59:59.999999999' GROUP BY t;
