-- what: sessions give no early results
-- offends: sessions
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '0 s';

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
SELECT k, SESSION_START(ts, INTERVAL '10' SECOND), COUNT(*), SUM(v) FROM late GROUP BY k, SESSION(ts, INTERVAL '10' SECOND);
