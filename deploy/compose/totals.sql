-- How many accesses were sent so far, and how many are counted: docker compose exec job weir run /job/totals.sql --state /tmp/totals --fresh
CREATE TABLE access_log (line STRING) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'raw',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
);

CREATE TABLE statistic (province STRING, access_count BIGINT, PRIMARY KEY (province) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'statistic', 'properties.bootstrap.servers' = 'kafka:9092',
  'key.format' = 'csv', 'value.format' = 'json', 'scan.bounded.mode' = 'latest-offset'
);

SET 'execution.runtime-mode' = 'batch';

SELECT 'sent' AS what, COUNT(*) AS accesses FROM access_log
UNION ALL
SELECT 'counted', COALESCE(SUM(access_count), 0) FROM statistic;
