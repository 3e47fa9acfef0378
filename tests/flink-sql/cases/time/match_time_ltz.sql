-- what: MATCH_RECOGNIZE: the time of a match as an instant
SET 'table.local-time-zone' = 'Asia/Tokyo';
CREATE TABLE ticks (
  symbol STRING,
  t TIMESTAMP(3),
  price INT,
  tax INT,
  ts AS CAST(t AS TIMESTAMP_LTZ(3)),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/ticks.csv',
  'format' = 'csv',
  'csv.null-literal' = ''
);

CREATE TABLE sink (s STRING, t STRING, u TIMESTAMP_LTZ(3), f TIMESTAMP_LTZ(3)) WITH ('connector' = 'print');

INSERT INTO sink
SELECT symbol, CAST(t AS STRING), u, f FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES MATCH_ROWTIME() AS t, MATCH_ROWTIME(ts) AS u, A.ts AS f AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+? C) DEFINE A AS A.tax = 1, C AS C.tax = 2) AS m;
