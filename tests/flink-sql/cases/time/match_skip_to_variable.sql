-- what: MATCH_RECOGNIZE: SKIP TO a variable is SKIP TO LAST
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

CREATE TABLE sink (s STRING, a INT, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, COUNT(B.price) AS n AFTER MATCH SKIP TO B PATTERN (A B{2}) DEFINE B AS B.price > A.price) AS m;
