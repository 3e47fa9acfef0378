-- Results of windows that go out early and change with late rows, and what reads them.
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '10 s';
SET 'table.exec.emit.late-fire.enabled' = 'true';
SET 'table.exec.emit.late-fire.delay' = '0 s';
SET 'table.exec.emit.allow-lateness' = '1 h';

CREATE TABLE visits (who STRING, page STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'datagen');
CREATE TABLE moving (window_start TIMESTAMP(3), page STRING, n BIGINT) WITH ('connector' = 'print');
CREATE TABLE busiest (window_start TIMESTAMP(3), page STRING, n BIGINT) WITH ('connector' = 'print');
CREATE TABLE by_day (k DATE, n BIGINT) WITH ('connector' = 'print');

INSERT INTO moving
SELECT window_start, page, COUNT(*)
FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, page;

INSERT INTO busiest
SELECT window_start, page, n FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS place FROM (
    SELECT window_start, window_end, page, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, page))
WHERE place <= 3;

INSERT INTO by_day
SELECT CAST(window_start AS DATE), SUM(n) FROM (
  SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end)
GROUP BY CAST(window_start AS DATE);
