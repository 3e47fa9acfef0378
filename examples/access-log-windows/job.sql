-- A web server's access log, computed by the time of its requests. ./run starts the servers, sends a real log and shows the tables.

SET 'execution.checkpointing.interval' = '200 ms';

CREATE TABLE access_log (
  line STRING,
  address AS SPLIT_INDEX(line, ' ', 0),
  path AS REGEXP_EXTRACT(line, '"[A-Z]+ ([^ "]*)', 1),
  status AS CAST(REGEXP_EXTRACT(line, '" ([0-9]{3}) ', 1) AS INT),
  bytes_sent AS TRY_CAST(REGEXP_EXTRACT(line, '" [0-9]{3} ([0-9]+)', 1) AS BIGINT),
  requested AS TO_TIMESTAMP(REGEXP_EXTRACT(line, '\[([^ \]]+)', 1), 'dd/MMM/yyyy:HH:mm:ss'),
  -- Lines are out of order by up to a minute.
  WATERMARK FOR requested AS requested - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'raw',
  'scan.startup.mode' = 'earliest-offset',
  -- Every partition has health checks, so time waits for all of them.
  'scan.watermark.idle-timeout' = '0 s',
  'late-rows.table' = 'late_lines'
);

-- Health checks move time on when nobody visits the site. They are not counted.
CREATE VIEW requests AS SELECT * FROM access_log WHERE path IS DISTINCT FROM '/health';

CREATE TABLE requests_by_minute (
  `minute` TIMESTAMP(3), status INT, requests BIGINT, bytes_sent BIGINT, PRIMARY KEY (`minute`, status) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres',
  'table-name' = 'requests_by_minute'
);

CREATE TABLE busiest_addresses (
  `minute` TIMESTAMP(3), place BIGINT, address STRING, requests BIGINT, PRIMARY KEY (`minute`, place) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres',
  'table-name' = 'busiest_addresses'
);

CREATE TABLE sessions (
  address STRING, first_request TIMESTAMP(3), last_request TIMESTAMP(3), requests BIGINT, bytes_sent BIGINT,
  PRIMARY KEY (address, first_request) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres',
  'table-name' = 'sessions'
);

-- Lines that come when their windows are complete: once for each of the operators below that has left them out.
CREATE TABLE late_lines (line STRING, requested TIMESTAMP(3), late_operator STRING, late_reason STRING) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres', 'table-name' = 'late_lines'
);

-- Requests by minute and status.
INSERT INTO requests_by_minute
SELECT window_start, status, COUNT(*), SUM(bytes_sent)
FROM TABLE(TUMBLE(TABLE requests, DESCRIPTOR(requested), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, status;

-- The five busiest addresses of each minute.
INSERT INTO busiest_addresses
SELECT window_start, place, address, requests
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY requests DESC, address) AS place
  FROM (
    SELECT window_start, window_end, address, COUNT(*) AS requests
    FROM TABLE(TUMBLE(TABLE requests, DESCRIPTOR(requested), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, address
  )
)
WHERE place <= 5;

-- Sessions: the requests of a visitor with less than 90 minutes between them.
INSERT INTO sessions
SELECT address, MIN(requested), MAX(requested), COUNT(*), SUM(bytes_sent)
FROM TABLE(SESSION(TABLE requests PARTITION BY address, DESCRIPTOR(requested), INTERVAL '90' MINUTE))
GROUP BY window_start, window_end, address;
