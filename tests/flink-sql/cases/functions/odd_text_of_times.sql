-- what: Unix seconds, zones and patterns of SimpleDateFormat over odd text
SET 'table.local-time-zone' = 'Europe/Berlin';

CREATE TABLE odd (
  id INT,
  s STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/odd_texts_of_times.jsonl',
  'format' = 'json'
);

CREATE TABLE sink (
  id INT,
  c0 TIMESTAMP_LTZ(3),
  c1 TIMESTAMP_LTZ(3),
  c2 TIMESTAMP_LTZ(3),
  c3 TIMESTAMP_LTZ(3),
  c4 DATE,
  c5 BIGINT,
  c6 BIGINT,
  c7 BIGINT,
  c8 BIGINT,
  c9 BIGINT,
  c10 BIGINT,
  c11 BIGINT,
  c12 BIGINT,
  c13 STRING,
  c14 STRING,
  c15 STRING,
  c16 STRING,
  c17 STRING,
  c18 STRING,
  c19 STRING,
  c20 STRING
) WITH (
  'connector' = 'print'
);

INSERT INTO sink
SELECT id,
  TO_TIMESTAMP_LTZ(s,'yyyy-MM-dd HH:mm:ss') AS c0,
  TO_TIMESTAMP_LTZ(s,'yyyy-MM-dd HH:mm:ss','Asia/Shanghai') AS c1,
  TO_TIMESTAMP_LTZ(s,'yyyy-MM-dd','Europe/Berlin') AS c2,
  TO_TIMESTAMP_LTZ(s,'yyyy-MM-dd''T''HH:mm:ss[.S]X') AS c3,
  TO_DATE(s) AS c4,
  UNIX_TIMESTAMP(s) AS c5,
  UNIX_TIMESTAMP(s,'yyyy-MM-dd') AS c6,
  UNIX_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss Z') AS c7,
  UNIX_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ssX') AS c8,
  UNIX_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ssXXX') AS c9,
  UNIX_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss.SSS z') AS c10,
  UNIX_TIMESTAMP(s,'yy') AS c11,
  UNIX_TIMESTAMP(s,'HH:mm:ss') AS c12,
  CONVERT_TZ(s,'UTC','America/Los_Angeles') AS c13,
  CONVERT_TZ(s,'Europe/Berlin','UTC') AS c14,
  CONVERT_TZ(s,'GMT+08:00','+01:00') AS c15,
  CONVERT_TZ(s,'nowhere','Asia/Tokyo') AS c16,
  CONVERT_TZ(s,'UTC','PST') AS c17,
  DATE_FORMAT(s,'yyyy/MM/dd HH-mm-ss') AS c18,
  DATE_FORMAT(s,'yy M d E z') AS c19,
  DATE_FORMAT(s,'yyyy-MM-dd''T''HH:mm:ss.SSSXXX') AS c20
FROM odd;
