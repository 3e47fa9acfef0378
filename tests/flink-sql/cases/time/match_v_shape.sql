-- what: MATCH_RECOGNIZE: prices that fall and rise again
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

CREATE TABLE sink (s STRING, top INT, bottom INT, up INT, n BIGINT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES A.price AS top, LAST(DOWN.price) AS bottom, LAST(UP.price) AS up, COUNT(UP.price) AS n
  ONE ROW PER MATCH AFTER MATCH SKIP TO LAST UP PATTERN (A DOWN+ UP+ B)
  DEFINE DOWN AS (LAST(DOWN.price, 1) IS NULL AND DOWN.price < A.price) OR DOWN.price < LAST(DOWN.price, 1),
    UP AS (LAST(UP.price, 1) IS NULL AND UP.price > LAST(DOWN.price)) OR UP.price > LAST(UP.price, 1)) AS m;
