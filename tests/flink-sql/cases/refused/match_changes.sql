-- what: MATCH_RECOGNIZE: rows that change
-- offends: update | changes
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

CREATE TABLE sink (k INT, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM (SELECT tax, MAX(ts) AS ts, COUNT(*) AS n FROM ticks GROUP BY tax) MATCH_RECOGNIZE (PARTITION BY tax ORDER BY ts MEASURES A.n AS n PATTERN (A B) DEFINE B AS B.n > 20) AS m;
