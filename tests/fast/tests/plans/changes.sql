CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE u (a INT, b STRING, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 't',
  'properties.bootstrap.servers' = 'none:1', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE o (b STRING, n BIGINT) WITH ('connector' = 'print');
INSERT INTO o SELECT b, COUNT(*) FROM t GROUP BY b;
INSERT INTO o SELECT b, MAX(a) FROM u WHERE a > 3 GROUP BY b;
