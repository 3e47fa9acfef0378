-- what: MATCH_RECOGNIZE: columns without a variable
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

CREATE TABLE sink (s STRING, p INT, q INT, n INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES price AS p, LAST(price, 1) AS q, SUM(price) AS n AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+? C) DEFINE A AS price < 20, C AS price > 20 AND LAST(price, 1) < 25) AS m;
