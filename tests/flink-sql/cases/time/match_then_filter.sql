-- what: MATCH_RECOGNIZE: the result is a relation like any other
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

CREATE TABLE sink (s STRING, n BIGINT, d INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT m.symbol, COUNT(*) AS n, MAX(m.d) AS d FROM (SELECT * FROM ticks WHERE tax IS NOT NULL) AS t MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES B.price - A.price AS d PATTERN (A B) DEFINE B AS B.price <> A.price) AS m WHERE d > 0 GROUP BY m.symbol;
