-- Sends made-up accesses to the topic that the example reads.
CREATE TABLE drawn (a INT, b INT, c INT, d INT, request_time BIGINT, response_size BIGINT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '2000',
  'fields.a.min' = '1', 'fields.a.max' = '223', 'fields.b.min' = '0', 'fields.b.max' = '255',
  'fields.c.min' = '0', 'fields.c.max' = '255', 'fields.d.min' = '0', 'fields.d.max' = '255',
  'fields.request_time.min' = '1', 'fields.request_time.max' = '2000',
  'fields.response_size.min' = '100', 'fields.response_size.max' = '100000'
);

CREATE TABLE access_log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'csv',
  'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO access_log
SELECT UUID(), CONCAT_WS('.', CAST(a AS STRING), CAST(b AS STRING), CAST(c AS STRING), CAST(d AS STRING)),
       request_time, response_size, '/'
FROM drawn;
