-- what: MATCH_RECOGNIZE: aggregates of expressions
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

CREATE TABLE sink (s STRING, a INT, b INT, c INT, d INT, e BIGINT, f DOUBLE) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES SUM(A.price * A.tax) AS a, MIN(A.price) AS b, MAX(A.price) + MIN(A.price) AS c, SUM(B.price) AS d, COUNT(B.price) AS e, STDDEV_POP(CAST(A.price AS DOUBLE)) AS f AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B C) DEFINE A AS SUM(A.tax) < 6, C AS C.price > 0) AS m;
