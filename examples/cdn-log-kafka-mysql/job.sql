-- The job of the PyFlink introduction with its options as printed there, Flink 1.10's: Kafka in, MySQL out. ./run starts the
-- servers, sends log lines and shows the table filling.

CREATE TABLE cdn_access_log (
  uuid VARCHAR, client_ip VARCHAR, request_time BIGINT, response_size BIGINT, uri VARCHAR
) WITH (
  'connector.type' = 'kafka',
  'connector.version' = 'universal',
  'connector.topic' = 'access_log',
  'connector.properties.zookeeper.connect' = 'localhost:2181',
  'connector.properties.bootstrap.servers' = '${KAFKA}',
  'format.type' = 'csv',
  'format.ignore-parse-errors' = 'true'
);

CREATE TABLE cdn_access_statistic (
  province VARCHAR, access_count BIGINT, total_download BIGINT, download_speed DOUBLE
) WITH (
  'connector.type' = 'jdbc',
  'connector.url' = 'jdbc:mysql://${MYSQL}/flink',
  'connector.table' = 'cdn_access_statistic',
  'connector.username' = 'root',
  'connector.password' = '${MYSQL_PASSWORD}',
  'connector.write.flush.interval' = '1s'
);

-- The function asks its service over HTTP, by a grant for that address only. ./run puts in where the service is.
CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON
  USING FILE '../cdn-log-analysis/udf/ip_to_province_http.py' WITH ('network' = '127.0.0.1:8099', 'on-error' = 'null');

INSERT INTO cdn_access_statistic
SELECT province, COUNT(uuid) AS access_count, SUM(response_size) AS total_download,
       SUM(response_size) * 1.0 / SUM(request_time) AS download_speed
FROM (SELECT uuid, COALESCE(ip_to_province('127.0.0.1:8099', client_ip), 'unknown') AS province, response_size, request_time
      FROM cdn_access_log)
GROUP BY province;
