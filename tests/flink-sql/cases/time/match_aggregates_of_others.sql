-- what: MATCH_RECOGNIZE: a condition over aggregates of other variables
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

CREATE TABLE sink (s STRING, n BIGINT, av INT, b INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES COUNT(A.price) AS n, AVG(A.price) AS av, B.price AS b AFTER MATCH SKIP PAST LAST ROW PATTERN (A+? B) DEFINE A AS COUNT(A.price) <= 4, B AS B.price > AVG(A.price) * 1.2) AS m;
