-- what: MATCH_RECOGNIZE: partition columns and expressions in measures
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

CREATE TABLE sink (a STRING, b STRING, n INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT UPPER(symbol), kind, n FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES CASE WHEN B.price > 25 THEN CONCAT('high ', CAST(B.price AS STRING)) ELSE 'low' END AS kind, A.tax + B.tax AS n AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE A AS A.tax IN (1, 2), B AS NOT (B.tax = 3)) AS m;
