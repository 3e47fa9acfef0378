-- what: CAST of odd text to TIME
CREATE TABLE odd (
  id INT,
  s STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/odd_texts_of_clocks.jsonl',
  'format' = 'json'
);

CREATE TABLE sink (
  id INT,
  c0 STRING,
  c1 STRING,
  c2 TIMESTAMP(3),
  c3 BIGINT
) WITH (
  'connector' = 'print'
);

INSERT INTO sink
SELECT id,
  CAST(TRY_CAST(s AS TIME(3)) AS STRING) AS c0,
  CAST(TRY_CAST(s AS TIME) AS STRING) AS c1,
  CAST(TRY_CAST(s AS TIME(3)) AS TIMESTAMP(3)) AS c2,
  EXTRACT(HOUR FROM TRY_CAST(s AS TIME)) AS c3
FROM odd;
