-- what: MATCH_RECOGNIZE: a greedy variable takes the rows that the next one could have
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

CREATE TABLE sink (s STRING, n BIGINT, b INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS n, B.price AS b AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.price > 14, B AS B.price > 13) AS m;
