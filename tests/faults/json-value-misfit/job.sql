CREATE TABLE dst (v DOUBLE) WITH ('connector' = 'print');
INSERT INTO dst SELECT JSON_VALUE('{"a":"x"}', '$.a' RETURNING DOUBLE NULL ON ERROR);
