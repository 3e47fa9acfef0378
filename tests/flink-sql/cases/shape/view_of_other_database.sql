-- what: names in a view are those of the database in which it was declared
CREATE TABLE sales (
  id INT,
  region STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${DATA}/texts.jsonl',
  'format' = 'json'
);

CREATE TABLE sink (
  id INT,
  n BIGINT
) WITH (
  'connector' = 'print'
);

CREATE VIEW few AS SELECT id FROM sales WHERE id < 4;
CREATE VIEW more_of AS SELECT id + 10 AS id FROM few WHERE id > 1;

CREATE DATABASE other;
USE other;
CREATE VIEW few AS SELECT id FROM default_database.more_of;

INSERT INTO default_database.sink
SELECT id, COUNT(*) FROM (SELECT id FROM default_database.few UNION ALL SELECT id FROM few) GROUP BY id;
