-- The log analysis of a content network by province, from topic to topic, exactly once.
CREATE TABLE access_log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'csv',
  'scan.startup.mode' = 'earliest-offset'
);

CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON
  USING FILE '/opt/weir/examples/cdn-log-analysis/udf/ip_to_province.py';

CREATE TABLE statistic (
  province STRING, access_count BIGINT, total_download BIGINT, download_speed DOUBLE, PRIMARY KEY (province) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'statistic', 'properties.bootstrap.servers' = 'kafka:9092',
  'key.format' = 'csv', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO statistic
SELECT province, COUNT(uuid), SUM(response_size), SUM(response_size) * 1.0 / SUM(request_time)
FROM (SELECT uuid, COALESCE(ip_to_province(client_ip), 'unknown') AS province, response_size, request_time FROM access_log)
GROUP BY province;
