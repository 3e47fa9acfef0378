-- what: MATCH_RECOGNIZE: several ways through a pattern end with the same row
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

CREATE TABLE sink (s STRING, a BIGINT, b BIGINT, c INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS a, COUNT(B.price) AS b, C.price AS c AFTER MATCH SKIP TO NEXT ROW PATTERN (A+? B*? C) DEFINE C AS C.price > 24) AS m;
