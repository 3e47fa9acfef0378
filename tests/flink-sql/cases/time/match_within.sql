-- what: MATCH_RECOGNIZE: a match is within a time
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

CREATE TABLE sink (s STRING, a INT, c INT, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, C.price AS c, COUNT(B.price) AS n PATTERN (A B*? C) WITHIN INTERVAL '3' SECOND DEFINE B AS B.price < 30, C AS C.price > 24) AS m;
