-- what: MATCH_RECOGNIZE: it goes on at the last row of a variable
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

CREATE TABLE sink (s STRING, a INT, b INT, n BIGINT, c INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, LAST(B.price) AS b, COUNT(B.price) AS n, C.price AS c AFTER MATCH SKIP TO LAST B PATTERN (A B{2} C) DEFINE A AS A.tax < 3) AS m;
