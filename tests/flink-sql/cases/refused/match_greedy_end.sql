-- what: MATCH_RECOGNIZE: a greedy quantifier at the end
-- offends: greedy
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

CREATE TABLE sink (s STRING, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(B.price) AS n PATTERN (A B+) DEFINE B AS B.price > 20) AS m;
