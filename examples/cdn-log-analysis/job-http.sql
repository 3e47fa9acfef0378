-- The largest downloads by province, where the function asks a service over HTTP. `geo_service.py` is such a service:
--   python3 geo_service.py 8099 &
--   weir run job-http.sql

CREATE TABLE access_log (
  uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING
) WITH (
  'connector' = 'filesystem', 'path' = 'data/access_log.csv.gz', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true'
);

-- Without the grant the function reaches nothing. An address that the service fails on is left out and counted.
CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON USING FILE 'udf/ip_to_province_http.py'
  WITH ('network' = '127.0.0.1:8099', 'on-error' = 'skip');

CREATE TABLE statistic (province STRING, access_count BIGINT, total_download BIGINT) WITH ('connector' = 'print');

SET 'execution.runtime-mode' = 'batch';

INSERT INTO statistic
SELECT province, COUNT(*), SUM(response_size)
FROM (SELECT ip_to_province('127.0.0.1:8099', client_ip) AS province, response_size
      FROM access_log WHERE response_size > 995000)
GROUP BY province;
