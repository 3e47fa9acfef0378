-- what: allowed lateness without late results does nothing
SET 'table.exec.emit.allow-lateness' = '30 s';

CREATE TABLE late (
  k STRING,
  ts TIMESTAMP(3),
  v INT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/late.csv',
  'format' = 'csv',
  'csv.null-literal' = ''
);

CREATE TABLE sink (
  k STRING,
  window_start TIMESTAMP(3),
  n BIGINT,
  s INT
) WITH (
  'connector' = 'print'
);

INSERT INTO sink
SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND), COUNT(*), SUM(v) FROM late GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND);
