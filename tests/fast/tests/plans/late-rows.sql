-- Rows that are late for windows, OVER and deduplication go to a table; so each goes by itself to the group that it is of.
CREATE TABLE visits (
  who STRING, page STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'visits', 'properties.bootstrap.servers' = 'b:9092', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'late-rows.table' = 'late');

CREATE TABLE late (page STRING, late_reason STRING, late_at TIMESTAMP_LTZ(3)) WITH ('connector' = 'print');

CREATE TABLE a_minute (who STRING, visits BIGINT) WITH ('connector' = 'print');
CREATE TABLE firsts (who STRING, ts TIMESTAMP(3)) WITH ('connector' = 'print');
CREATE TABLE so_far (who STRING, visits BIGINT) WITH ('connector' = 'print');

INSERT INTO a_minute
SELECT who, COUNT(*) FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY who, window_start, window_end;

INSERT INTO firsts
SELECT who, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY who ORDER BY ts) AS n FROM visits) WHERE n = 1;

INSERT INTO so_far SELECT who, COUNT(*) OVER (PARTITION BY who ORDER BY ts) FROM visits;
