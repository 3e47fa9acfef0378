-- Events from topics of different shapes, and rules about them that come from a topic too: a rule that is added, changed or removed
-- holds from then on, without a restart. ./run starts the servers, sends real logs and shows what arrives at each action.

SET 'execution.checkpointing.interval' = '200 ms';
-- What cannot be computed, such as a rule's pattern that is none, is NULL: the rule does not hold.
SET 'sql.on-error' = 'null';

-- 1. The topics. Each has its own shape.

CREATE TABLE access_log (
  line STRING,
  address AS SPLIT_INDEX(line, ' ', 0),
  path AS REGEXP_EXTRACT(line, '"[A-Z]+ ([^ "]*)', 1),
  status AS CAST(REGEXP_EXTRACT(line, '" ([0-9]{3}) ', 1) AS INT),
  bytes_sent AS TRY_CAST(REGEXP_EXTRACT(line, '" [0-9]{3} ([0-9]+)', 1) AS BIGINT),
  requested AS TO_TIMESTAMP(REGEXP_EXTRACT(line, '\[([^ \]]+)', 1), 'dd/MMM/yyyy:HH:mm:ss'),
  WATERMARK FOR requested AS requested - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'access_log', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'raw',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

-- The visitor's address is encrypted here.
CREATE TABLE logins (
  tried TIMESTAMP(3), account STRING, address BYTES, ok BOOLEAN,
  WATERMARK FOR tried AS tried - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'logins', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

CREATE TABLE transactions (
  seen TIMESTAMP(3), txid STRING, is_coinbase BOOLEAN, output_value_sat BIGINT, outputs ARRAY<ROW<`value` BIGINT, kind STRING>>,
  WATERMARK FOR seen AS seen - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'transactions', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

-- AES in the sandbox: the function sees the file of the key and nothing else.
CREATE FUNCTION decrypt AS 'decrypt' LANGUAGE RUST USING FILE 'udf/decrypt' WITH ('assets' = '${EVENTS_KEY}', 'on-error' = 'null');

CREATE VIEW readable_logins AS SELECT tried, account, ok, decrypt(address) AS address FROM logins;

-- 2. One stream of events. A condition defines each type; `fields` has what rules may ask for.

CREATE VIEW events AS
SELECT *, PROCTIME() AS arrived FROM (
  SELECT 'not_found' AS type, address AS who, requested AS happened, MAP['path', path] AS fields
  FROM access_log WHERE status = 404
  UNION ALL
  SELECT 'download', address, requested, MAP['path', path, 'bytes', CAST(bytes_sent AS STRING)]
  FROM access_log WHERE status = 200 AND bytes_sent > 1000000
  UNION ALL
  SELECT IF(ok, 'login', 'login_failed'), address, tried, MAP['account', account]
  FROM readable_logins WHERE address IS NOT NULL
  UNION ALL
  SELECT 'transaction', txid, seen,
    MAP['value', CAST(output_value_sat AS STRING), 'outputs', CAST(CARDINALITY(outputs) AS STRING)]
  FROM transactions WHERE NOT is_coinbase
);

-- 3. The rules. A record replaces the rule of its key; one without a value removes it. What is of the wrong type is NULL.

CREATE TABLE rules (
  id STRING, kind STRING, event STRING, field STRING, comparison STRING, `value` STRING, then_event STRING,
  times INT, seconds INT, action STRING, max_actions INT, per_seconds INT,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'rules', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'raw', 'value.format' = 'json', 'value.json.ignore-parse-errors' = 'true'
);

CREATE VIEW checked_rules AS
SELECT *,
  CASE
    WHEN event IS NULL THEN 'event is missing'
    WHEN action IS NULL OR action NOT IN ('chat', 'service', 'record') THEN 'action is none of chat, service and record'
    WHEN max_actions IS NULL OR max_actions < 1 OR per_seconds IS NULL OR per_seconds < 1
      THEN 'max_actions and per_seconds are no positive numbers'
    WHEN field IS NOT NULL AND (comparison IS NULL OR comparison NOT IN ('=', '<', '>', 'matches'))
      THEN 'comparison is none of =, <, > and matches'
    WHEN field IS NOT NULL AND comparison IN ('<', '>') AND TRY_CAST(`value` AS DOUBLE) IS NULL THEN 'value is no number'
    WHEN kind = 'condition' AND field IS NULL THEN 'field is missing'
    WHEN kind = 'condition' THEN CAST(NULL AS STRING)
    WHEN kind IS NULL OR kind NOT IN ('threshold', 'sequence') THEN 'kind is none of condition, threshold and sequence'
    WHEN seconds IS NULL OR seconds NOT BETWEEN 1 AND 86400 THEN 'seconds is not between 1 and 86400'
    WHEN kind = 'threshold' AND (times IS NULL OR times < 1) THEN 'times is no positive number'
    WHEN kind = 'sequence' AND (then_event IS NULL OR then_event = event) THEN 'then_event is missing, or the same as event'
  END AS fault
FROM rules;

-- All rules about a type of event, as one row: an event is joined with it when it arrives. A sequence is about two types.
CREATE VIEW rules_by_event AS
SELECT event, ARRAY_AGG(ROW(id, kind, step, field, comparison, `value`, times, seconds, action, max_actions, per_seconds)) AS rules
FROM (
  SELECT *, 1 AS step FROM checked_rules WHERE fault IS NULL
  UNION ALL
  SELECT id, kind, then_event, CAST(NULL AS STRING), comparison, `value`, then_event, times, seconds, action, max_actions,
    per_seconds, fault, 2
  FROM checked_rules WHERE fault IS NULL AND kind = 'sequence'
)
GROUP BY event;

-- 4. Each event with each rule that it fits.

CREATE VIEW hits AS
SELECT e.type, e.who, e.happened, r.id AS rule, r.kind, r.step, r.times, r.seconds, r.action, r.max_actions, r.per_seconds
FROM events AS e
JOIN rules_by_event FOR SYSTEM_TIME AS OF e.arrived AS b ON e.type = b.event
CROSS JOIN UNNEST(b.rules)
  AS r (id, kind, step, field, comparison, `value`, times, seconds, action, max_actions, per_seconds)
WHERE CASE
    WHEN r.field IS NULL THEN TRUE
    WHEN r.comparison = '=' THEN e.fields[r.field] = r.`value`
    WHEN r.comparison = '<' THEN TRY_CAST(e.fields[r.field] AS DOUBLE) < TRY_CAST(r.`value` AS DOUBLE)
    WHEN r.comparison = '>' THEN TRY_CAST(e.fields[r.field] AS DOUBLE) > TRY_CAST(r.`value` AS DOUBLE)
    WHEN r.comparison = 'matches' THEN REGEXP(e.fields[r.field], r.`value`)
  END;

-- 5. What the three kinds of rules find.

CREATE VIEW alerts AS
SELECT rule, who, action, max_actions, per_seconds, 1 AS events, happened FROM hits WHERE kind = 'condition'
UNION ALL
-- `times` events within `seconds`.
SELECT rule, who, action, max_actions, per_seconds, CAST(events AS INT), happened
FROM (SELECT * FROM hits WHERE kind = 'threshold') MATCH_RECOGNIZE (
  PARTITION BY rule, who
  ORDER BY happened
  MEASURES
    LAST_ONE.action AS action, LAST_ONE.max_actions AS max_actions, LAST_ONE.per_seconds AS per_seconds,
    COUNT(*) AS events, MATCH_ROWTIME(happened) AS happened
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (EARLIER*? LAST_ONE) WITHIN INTERVAL '1' DAY
  DEFINE
    EARLIER AS TIMESTAMPDIFF(SECOND, FIRST(EARLIER.happened), EARLIER.happened) < seconds,
    LAST_ONE AS COUNT(EARLIER.rule) + 1 >= times
      AND TIMESTAMPDIFF(SECOND, COALESCE(FIRST(EARLIER.happened), happened), happened) < seconds
)
UNION ALL
-- An event, then one of another type, within `seconds`.
SELECT rule, who, action, max_actions, per_seconds, CAST(events AS INT), happened
FROM (SELECT * FROM hits WHERE kind = 'sequence') MATCH_RECOGNIZE (
  PARTITION BY rule, who
  ORDER BY happened, step
  MEASURES
    AFTERWARDS.action AS action, AFTERWARDS.max_actions AS max_actions, AFTERWARDS.per_seconds AS per_seconds,
    COUNT(*) AS events, MATCH_ROWTIME(happened) AS happened
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (FIRST_ONE BETWEEN_THEM*? AFTERWARDS) WITHIN INTERVAL '2' DAY
  DEFINE
    FIRST_ONE AS step = 1,
    BETWEEN_THEM AS TIMESTAMPDIFF(SECOND, FIRST_ONE.happened, happened) <= seconds,
    AFTERWARDS AS step = 2 AND TIMESTAMPDIFF(SECOND, FIRST_ONE.happened, happened) <= seconds
);

-- 6. At most `max_actions` for each rule and key in each period of `per_seconds`.

CREATE VIEW actions AS
SELECT rule, who, action, events, happened,
  CONCAT(rule, ': ', who, ' at ', DATE_FORMAT(happened, 'yyyy-MM-dd HH:mm:ss'), ', events: ', CAST(events AS STRING)) AS message
FROM (
  SELECT *,
    COUNT(*) OVER (PARTITION BY rule, who, slot ORDER BY happened ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n
  FROM (
    SELECT *, TIMESTAMPDIFF(SECOND, TIMESTAMP '2000-01-01 00:00:00', happened) / per_seconds AS slot FROM alerts
  )
)
WHERE n <= max_actions;

-- 7. The actions.

CREATE TABLE chat (message STRING) WITH (
  'connector' = 'webhook', 'url' = '${CHAT_URL}', 'body.template' = '{"text": {{ message }}}', 'on-error' = 'skip'
);

CREATE TABLE service (rule STRING, who STRING, happened TIMESTAMP(3), events INT) WITH (
  'connector' = 'webhook', 'url' = '${SERVICE_URL}', 'method' = 'PUT', 'headers.X-Caller' = 'event-rules',
  'body.template' = '{"block": {{ who }}, "because": {{ rule }}, "at": {{ happened }}, "events": {{ events }}}', 'on-error' = 'skip'
);

CREATE TABLE records (rule STRING, who STRING, happened TIMESTAMP(3), events INT) WITH (
  'connector' = 'kafka', 'topic' = 'alerts', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'key.format' = 'raw', 'key.fields' = 'who', 'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO chat SELECT message FROM actions WHERE action = 'chat';
INSERT INTO service SELECT rule, who, happened, events FROM actions WHERE action = 'service';
INSERT INTO records SELECT rule, who, happened, events FROM actions WHERE action = 'record';

-- 8. For those who write rules and send events: rules that are refused, and logins that cannot be decrypted.

CREATE TABLE refused_rules (id STRING, fault STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'refused_rules', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'raw', 'value.format' = 'json'
);
CREATE TABLE unreadable_logins (tried TIMESTAMP(3), account STRING) WITH (
  'connector' = 'kafka', 'topic' = 'unreadable_logins', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json'
);

INSERT INTO refused_rules SELECT id, fault FROM checked_rules WHERE fault IS NOT NULL;
INSERT INTO unreadable_logins SELECT tried, account FROM readable_logins WHERE address IS NULL;
