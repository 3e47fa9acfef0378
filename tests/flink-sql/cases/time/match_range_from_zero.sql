-- what: MATCH_RECOGNIZE: a range from 0 behind a greedy one
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

CREATE TABLE sink (s STRING, n BIGINT, m BIGINT, c INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS n, COUNT(B.price) AS m, C.price AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B{0,2} C) DEFINE A AS A.price < 20, B AS B.price > 23, C AS C.price > 17) AS m;
