-- what: MATCH_RECOGNIZE: at least so many rows, greedy and reluctant
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

CREATE TABLE sink (s STRING, n BIGINT, b INT, m BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS n, B.price AS b, COUNT(C.price) AS m AFTER MATCH SKIP PAST LAST ROW PATTERN (A{2,} B C{2,}?) DEFINE A AS A.price > 18) AS m;
