-- what: MATCH_RECOGNIZE: a variable that may be missing
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
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, FIRST(B.price) AS b, COUNT(B.price) AS n, C.price AS c AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) DEFINE A AS A.price < 20, B AS B.price >= 24, C AS C.price < 24) AS m;
