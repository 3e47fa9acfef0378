-- what: TO_TIMESTAMP and CAST to TIMESTAMP, TIMESTAMP_LTZ and DATE of odd text, with patterns that fit and that do not
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
  c0 TIMESTAMP(3),
  c1 TIMESTAMP(3),
  c2 TIMESTAMP(9),
  c3 TIMESTAMP(9),
  c4 STRING,
  c5 TIMESTAMP(3),
  c6 TIMESTAMP(3),
  c7 TIMESTAMP(3),
  c8 TIMESTAMP(3),
  c9 TIMESTAMP(3),
  c10 TIMESTAMP(3),
  c11 TIMESTAMP(3),
  c12 TIMESTAMP(3),
  c13 TIMESTAMP(3),
  c14 TIMESTAMP(3),
  c15 TIMESTAMP(3),
  c16 TIMESTAMP(3),
  c17 TIMESTAMP(9),
  c18 TIMESTAMP(0),
  c19 TIMESTAMP_LTZ(3),
  c20 TIMESTAMP_LTZ(9),
  c21 DATE,
  c22 TIME,
  c23 STRING,
  c24 DATE,
  c25 STRING
) WITH (
  'connector' = 'print'
);

INSERT INTO sink
SELECT id,
  TO_TIMESTAMP(s) AS c0,
  TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss') AS c1,
  CAST(TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss') AS TIMESTAMP(9)) AS c2,
  CAST(TO_TIMESTAMP(s) AS TIMESTAMP(9)) AS c3,
  CAST(TO_TIMESTAMP(s) AS STRING) AS c4,
  TO_TIMESTAMP(s,'yyyy-MM-dd') AS c5,
  TO_TIMESTAMP(s,'yyyy-M-d H:m:s') AS c6,
  TO_TIMESTAMP(s,'yyyy-MM-dd''T''HH:mm:ss[.S][XXX]') AS c7,
  TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss.SSS') AS c8,
  TO_TIMESTAMP(s,'uuuu-MM-dd HH:mm:ss[.SSSSSSSSS]') AS c9,
  TO_TIMESTAMP(s,'HH:mm:ss') AS c10,
  TO_TIMESTAMP(s,'yy-MM-dd') AS c11,
  TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss Z') AS c12,
  TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ssXXX') AS c13,
  TO_TIMESTAMP(s,'yyyy-MM-dd HH:mm:ss.SSS z') AS c14,
  TO_TIMESTAMP(s,'yyyy') AS c15,
  TRY_CAST(s AS TIMESTAMP(3)) AS c16,
  TRY_CAST(s AS TIMESTAMP(9)) AS c17,
  TRY_CAST(s AS TIMESTAMP(0)) AS c18,
  TRY_CAST(s AS TIMESTAMP_LTZ(3)) AS c19,
  TRY_CAST(s AS TIMESTAMP_LTZ(9)) AS c20,
  TRY_CAST(s AS DATE) AS c21,
  TRY_CAST(s AS TIME) AS c22,
  CAST(TRY_CAST(s AS TIMESTAMP(9)) AS STRING) AS c23,
  CAST(TRY_CAST(s AS TIMESTAMP(6)) AS DATE) AS c24,
  CAST(TRY_CAST(s AS DATE) AS STRING) AS c25
FROM odd;
