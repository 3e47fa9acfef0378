-- what: MATCH_RECOGNIZE: several ways through a longer pattern
CREATE TABLE ticks (
  symbol STRING,
  ts TIMESTAMP(3),
  price INT,
  tax INT,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/ticks.csv',
  'format' = 'csv',
  'csv.null-literal' = ''
);

CREATE TABLE sink (s STRING, a BIGINT, b BIGINT, c BIGINT, d INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS a, COUNT(B.price) AS b, COUNT(C.price) AS c, D.price AS d AFTER MATCH SKIP PAST LAST ROW PATTERN (A+? B{1,3}? C*? D) DEFINE D AS D.price > 28 OR D.price = 19) AS m;
