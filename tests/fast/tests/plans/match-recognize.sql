CREATE TABLE prices (symbol STRING, ts TIMESTAMP(3), price INT, tax INT, note STRING, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'prices', 'properties.bootstrap.servers' = 'b:1', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE dips (symbol STRING, top INT, n BIGINT, up INT, w TIMESTAMP(3)) WITH ('connector' = 'print');
CREATE TABLE stalled (symbol STRING, top INT, timed_out_start TIMESTAMP(3), timed_out_at TIMESTAMP(3)) WITH ('connector' = 'print');
CREATE TABLE rows_of (symbol STRING, ts TIMESTAMP(3), c STRING, price INT) WITH ('connector' = 'print');

-- Only what is read of rows is read and kept; what the query around it does not use is not computed.
INSERT INTO dips
SELECT symbol, MAX(top) AS top, SUM(n) AS n, MAX(up) AS up, TUMBLE_START(t, INTERVAL '1' MINUTE) AS w
FROM prices MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY ts, tax DESC
  MEASURES A.price AS top, COUNT(B.price) AS n, C.price * 2 AS up, SUM(A.tax) AS unused, MATCH_ROWTIME() AS t
  AFTER MATCH SKIP TO LAST C
  PATTERN (A B+ C{2}) WITHIN INTERVAL '10' MINUTE
  DEFINE B AS B.price < A.price, C AS C.price > 10
) GROUP BY symbol, TUMBLE(t, INTERVAL '1' MINUTE);

INSERT INTO rows_of
SELECT symbol, ts, c, price FROM (SELECT * FROM prices WHERE price > 0) MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY ts MEASURES CLASSIFIER() AS c ALL ROWS PER MATCH
  PATTERN (A | B C) DEFINE A AS A.price > PREV(A.price, 3)
);

-- What is not complete in time goes to a table, with all measures; the scan is shared with those that have no such table.
INSERT INTO rows_of
SELECT symbol, ts, c, price FROM prices /*+ OPTIONS('timed-out-matches.table' = 'stalled') */ MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY ts
  MEASURES CLASSIFIER() AS c, FINAL LAST(B.price) AS bottom, NEXT(A.price) AS after_top, A.price AS top
  ALL ROWS PER MATCH AFTER MATCH SKIP PAST LAST ROW
  PATTERN (^ A {- B+ -} C) WITHIN INTERVAL '1' MINUTE DEFINE B AS B.price < A.price
);

-- Nothing bounds the rows of a match.
INSERT INTO rows_of
SELECT symbol, CAST(NULL AS TIMESTAMP(3)), 'none', top FROM prices MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY ts MEASURES A.price AS top PATTERN (A B*? C+ D) DEFINE B AS B.price < 5
);
