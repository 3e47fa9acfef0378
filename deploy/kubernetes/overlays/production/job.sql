-- The log analysis of a content network by province, from topic to topic, exactly once. Secrets come from the environment: the
-- Secrets kafka-password (KAFKA_PASSWORD) and savepoints (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION).
SET 'pipeline.name' = 'cdn-log-analysis';
SET 'state.savepoints.interval' = '1 h';
SET 'state.savepoints.dir' = 's3://savepoints/cdn-log-analysis';
SET 'state.cache-size' = '2 gb';

CREATE TABLE access_log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'csv',
  'csv.ignore-parse-errors' = 'true', 'scan.startup.mode' = 'earliest-offset',
  'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.username' = '${KAFKA_USER}', 'properties.sasl.password' = '${KAFKA_PASSWORD}'
);

CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON
  USING FILE '/opt/weir/examples/cdn-log-analysis/udf/ip_to_province.py' WITH ('on-error' = 'null');

CREATE TABLE statistic (
  province STRING, access_count BIGINT, total_download BIGINT, download_speed DOUBLE, PRIMARY KEY (province) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'statistic', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'csv', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',
  'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'SCRAM-SHA-512',
  'properties.sasl.username' = '${KAFKA_USER}', 'properties.sasl.password' = '${KAFKA_PASSWORD}'
);

INSERT INTO statistic
SELECT province, COUNT(uuid), SUM(response_size), SUM(response_size) * 1.0 / SUM(request_time)
FROM (SELECT uuid, COALESCE(ip_to_province(client_ip), 'unknown') AS province, response_size, request_time FROM access_log)
GROUP BY province;
