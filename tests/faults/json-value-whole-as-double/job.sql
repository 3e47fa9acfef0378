CREATE TABLE dst (v DOUBLE) WITH ('connector' = 'print');
INSERT INTO dst SELECT JSON_VALUE('{"a":1}', 'lax $.a' RETURNING DOUBLE);
