-- what: CURRENT_DATABASE before and after USE
CREATE TABLE texts (
  id INT,
  s STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/texts.jsonl',
  'format' = 'json'
);

CREATE TABLE sink (
  id INT,
  db STRING,
  n INT,
  type STRING
) WITH (
  'connector' = 'print'
);

CREATE VIEW before AS SELECT id, CURRENT_DATABASE() AS db FROM texts WHERE id < 3;

CREATE DATABASE other;
USE other;

INSERT INTO default_database.sink
SELECT id, db, CHAR_LENGTH(db), TYPEOF(db) FROM default_database.before
UNION ALL
SELECT id, current_database(), CHAR_LENGTH(CURRENT_DATABASE()), TYPEOF(CURRENT_DATABASE())
FROM default_database.texts WHERE id < 3;
