CREATE TABLE visits (
  who STRING, page STRING, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'datagen');
CREATE TABLE pages (window_start TIMESTAMP(3), page STRING, n BIGINT, place BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE firsts (who STRING, page STRING) WITH ('connector' = 'blackhole');
CREATE TABLE recent (who STRING, n BIGINT) WITH ('connector' = 'blackhole');

-- The busiest pages of each minute, once when it is complete.
INSERT INTO pages
SELECT window_start, page, n, place FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS place FROM (
    SELECT window_start, window_end, page, COUNT(*) AS n
    FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))
    GROUP BY window_start, window_end, page))
WHERE place <= 3;

INSERT INTO firsts
SELECT who, page FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY who ORDER BY ts) AS n FROM visits) WHERE n = 1;

INSERT INTO recent
SELECT who, COUNT(*) OVER (PARTITION BY who ORDER BY ts ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) FROM visits;
