-- The log analysis of a content network, by province: the job of the PyFlink introduction, its function in Python.

CREATE TABLE access_log (
  uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING
) WITH (
  'connector' = 'filesystem', 'path' = '/tmp/bench/log.csv', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true'
);

CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON USING FILE 'udf/ip_to_province.py';

CREATE TABLE statistic (
  province STRING, access_count BIGINT, total_download BIGINT, download_speed DOUBLE,
  PRIMARY KEY (province) NOT ENFORCED
) WITH ('connector' = 'blackhole');

-- Each province once, at the end. Without this line every change is printed as it comes.


INSERT INTO statistic
SELECT province, COUNT(uuid), SUM(response_size), SUM(response_size) * 1.0 / SUM(request_time)
FROM (SELECT uuid, ip_to_province(client_ip) AS province, response_size, request_time FROM access_log)
GROUP BY province;
