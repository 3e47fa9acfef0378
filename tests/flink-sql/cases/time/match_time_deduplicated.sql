-- what: MATCH_RECOGNIZE: the first match of each minute
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

CREATE TABLE sink (s STRING, t TIMESTAMP(3), a INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT symbol, t, a FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol, FLOOR(t TO MINUTE) ORDER BY t) AS n FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts
  MEASURES MATCH_ROWTIME() AS t, A.price AS a AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.price > A.price)) WHERE n = 1;
