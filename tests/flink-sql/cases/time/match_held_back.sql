-- what: MATCH_RECOGNIZE: a longer match that begins earlier comes first
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

CREATE TABLE sink (s STRING, a INT, b BIGINT, c INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, COUNT(B.price) AS b, C.price AS c PATTERN (A B+ C) DEFINE A AS A.price > 18, B AS B.price > A.price, C AS C.price <= A.price) AS m;
