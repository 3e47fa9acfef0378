CREATE TABLE dst (v BIGINT) WITH ('connector' = 'print');
INSERT INTO dst SELECT JSON_VALUE('{"a":1}', '$.a' RETURNING BIGINT);
