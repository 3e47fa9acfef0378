-- what: no row is late in batch mode
SET 'execution.runtime-mode' = 'batch';
CREATE TABLE late (k STRING, ts TIMESTAMP(3), v INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`window_start` TIMESTAMP(3), `EXPR$1` BIGINT, `EXPR$2` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT window_start, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE late, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
