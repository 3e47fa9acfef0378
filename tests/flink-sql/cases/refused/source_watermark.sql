-- what: SOURCE_WATERMARK() of a connector that has no watermarks of its own
-- offends: watermarks of its source
CREATE TABLE src (k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS SOURCE_WATERMARK()) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv');

CREATE TABLE sink (k STRING) WITH ('connector' = 'print');

INSERT INTO sink
SELECT k FROM src;
