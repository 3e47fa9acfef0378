-- what: MATCH_RECOGNIZE: all rows are one partition, ordered by a second column
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

CREATE TABLE sink (a STRING, b STRING, p INT, q INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (ORDER BY ts, price DESC MEASURES A.symbol AS a, B.symbol AS b, A.price AS p, B.price AS q AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE B AS B.symbol <> A.symbol) AS m;
