-- what: a row behind the watermark finds the rows of its frame
CREATE TABLE clicks (usr STRING, ts TIMESTAMP(3), page STRING, ms INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`usr` STRING, `ts` TIMESTAMP(3), `ms` INT, `s` INT, `n` BIGINT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT usr, ts, ms, SUM(ms) OVER (PARTITION BY usr ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) s, COUNT(*) OVER (PARTITION BY usr ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) n FROM clicks;
