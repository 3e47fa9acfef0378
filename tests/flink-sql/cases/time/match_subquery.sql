-- what: MATCH_RECOGNIZE: over a query
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

CREATE TABLE sink (s STRING, a BIGINT, b BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM (SELECT symbol, ts, CAST(price AS BIGINT) * 2 AS twice FROM ticks WHERE price > 15) MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.twice AS a, B.twice AS b AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.twice > A.twice) AS m;
