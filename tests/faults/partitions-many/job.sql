CREATE TABLE g (id INT) WITH ('connector' = 'datagen', 'number-of-rows' = '9000', 'rows-per-second' = '1000000', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '8999');
CREATE TABLE dst (id INT, p INT) PARTITIONED BY (p) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO dst SELECT id, MOD(id, 3000) FROM g;
