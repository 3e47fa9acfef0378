-- what: MATCH_RECOGNIZE: the time of a match is that of its last row
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

CREATE TABLE sink (s STRING, t TIMESTAMP(3), u STRING) WITH ('connector' = 'print');

INSERT INTO sink
SELECT symbol, t, CAST(u AS STRING) FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES MATCH_ROWTIME() AS t, MATCH_ROWTIME(ts) AS u AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+? C) DEFINE A AS A.tax = 1, C AS C.tax = 2) AS m;
