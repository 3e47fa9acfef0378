-- what: MATCH_RECOGNIZE: in batch mode
SET 'execution.runtime-mode' = 'batch';
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

CREATE TABLE sink (s STRING, a INT, b INT, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS a, B.price AS b, COUNT(C.price) AS n AFTER MATCH SKIP PAST LAST ROW PATTERN (A C* B) DEFINE C AS C.price > A.price, B AS B.price <= A.price) AS m;
