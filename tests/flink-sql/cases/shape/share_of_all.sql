-- what: a division by an uncorrelated COUNT(*)
CREATE TABLE access (ip STRING, ts_ms BIGINT, ts TIMESTAMP(3), `method` STRING, uri STRING, status INT, `bytes` BIGINT, referrer STRING, agent STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/access.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`status` INT, `n` BIGINT, `p` DECIMAL(6, 4)) WITH ('connector' = 'print');
INSERT INTO sink
SELECT status, n, CAST(n * 1.0 / (SELECT COUNT(*) FROM access) AS DECIMAL(6, 4)) p FROM (SELECT status, COUNT(*) n FROM access GROUP BY status);
