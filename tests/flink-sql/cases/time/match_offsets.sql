-- what: MATCH_RECOGNIZE: FIRST and LAST with offsets
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

CREATE TABLE sink (s STRING, a INT, b INT, c INT, d INT, e INT, f INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES FIRST(A.price) AS a, FIRST(A.price, 1) AS b, FIRST(A.price, 5) AS c, LAST(A.price, 1) AS d, LAST(A.price, 2) + 1 AS e, LAST(A.price * 2 + A.tax, 1) AS f AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.price > 17) AS m;
