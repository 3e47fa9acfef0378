CREATE TABLE t (id INT, ts TIMESTAMP_LTZ(3) METADATA FROM 'ingestion-timestamp', st TIMESTAMP_LTZ(3) METADATA FROM 'source.timestamp', db STRING METADATA FROM 'source.database', sc STRING METADATA FROM 'source.schema', tb STRING METADATA FROM 'source.table', p MAP<STRING, STRING> METADATA FROM 'source.properties')
WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'debezium-json');
CREATE TABLE dst (id INT, ts TIMESTAMP_LTZ(3), st TIMESTAMP_LTZ(3), db STRING, sc STRING, tb STRING, p STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT id, ts, st, db, sc, tb, p['x'] FROM t;
