-- what: JSON functions over texts that are JSON, nearly JSON and none
CREATE TABLE sink (n INT, v STRING) WITH ('connector' = 'print');

CREATE TEMPORARY VIEW inputs AS SELECT * FROM (VALUES ('{"a":"x"} y'), ('{"a":"x"'), ('{"a":"x",}'), ('{a:1}'), ('{''a'':1}'), ('[1,2'), ('"x"'), ('5'), ('null'), (''), (' '), ('nul'), ('{"a":1,"a":2}'), ('{"a":"\ud83d\ude00"}'), ('{"a":"\uZZ"}'), ('{"a":NaN}'), ('{"a":01}'), ('{"a":.5}'), ('{"a":1.}'), ('{"a":+1}'), ('{"a":1e999}'), ('{"a":-0}'), ('{"a":-0.0}'), ('{"a":1.0}'), ('{"a":100000000000000000000.5}'), ('{"a":1e-7}'), ('{"a":12345678.9}'), ('{"$serde_json::private::Number":"5"}'), ('{"a":{"$serde_json::private::Number":"5"}}'), ('{"$serde_json::private::RawValue":"5"}'), ('{"a":"x	y"}'), ('// c'), ('{"a":/*c*/1}'), ('{"a":9223372036854775807}'), ('{"a":9223372036854775808}'), ('{"a":2147483648}'), ('{"a":TRUE}'), ('{"a":true}'), ('{"a":"a\/b"}'), ('{"a":"\x"}'), (CAST(NULL AS STRING))) AS t (j);

INSERT INTO sink
SELECT 1, CAST(JSON_VALUE(j, '$.a') AS STRING) FROM inputs
UNION ALL SELECT 2, CAST(JSON_VALUE(j, 'lax $.a') AS STRING) FROM inputs
UNION ALL SELECT 3, CAST(JSON_VALUE(j, 'lax $.a' DEFAULT 'oe' ON EMPTY DEFAULT 'or' ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 4, CAST(JSON_VALUE(j, 'strict $.a' DEFAULT 'oe' ON EMPTY DEFAULT 'or' ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 5, CAST(JSON_VALUE(j, '$' DEFAULT 'oe' ON EMPTY DEFAULT 'or' ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 6, CAST(JSON_VALUE(j, 'lax $' DEFAULT 'oe' ON EMPTY DEFAULT 'or' ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 7, CAST(JSON_QUERY(j, '$') AS STRING) FROM inputs
UNION ALL SELECT 8, CAST(JSON_QUERY(j, '$' WITH WRAPPER) AS STRING) FROM inputs
UNION ALL SELECT 9, CAST(JSON_QUERY(j, '$' EMPTY ARRAY ON EMPTY EMPTY OBJECT ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 10, CAST(JSON_QUERY(j, 'lax $' EMPTY ARRAY ON EMPTY EMPTY OBJECT ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 11, CAST(JSON_EXISTS(j, '$') AS STRING) FROM inputs
UNION ALL SELECT 12, CAST(JSON_EXISTS(j, '$' TRUE ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 13, CAST(JSON_EXISTS(j, 'lax $' TRUE ON ERROR) AS STRING) FROM inputs
UNION ALL SELECT 14, CAST(JSON_EXISTS(j, '$.a') AS STRING) FROM inputs
UNION ALL SELECT 15, CAST(JSON_EXISTS(j, 'lax $.a') AS STRING) FROM inputs
UNION ALL SELECT 16, CAST(j IS JSON AS STRING) FROM inputs
UNION ALL SELECT 17, CAST(j IS JSON VALUE AS STRING) FROM inputs
UNION ALL SELECT 18, CAST(j IS JSON OBJECT AS STRING) FROM inputs
UNION ALL SELECT 19, CAST(j IS JSON ARRAY AS STRING) FROM inputs
UNION ALL SELECT 20, CAST(j IS JSON SCALAR AS STRING) FROM inputs
UNION ALL SELECT 21, CAST(JSON_QUOTE(j) AS STRING) FROM inputs
UNION ALL SELECT 22, CAST(JSON_UNQUOTE(j) AS STRING) FROM inputs
UNION ALL SELECT 23, CAST(JSON_STRING(j) AS STRING) FROM inputs
UNION ALL SELECT 24, CAST(JSON_OBJECT('k' VALUE j) AS STRING) FROM inputs
UNION ALL SELECT 25, CAST(JSON_QUERY(j, '$' RETURNING ARRAY<STRING>) AS STRING) FROM inputs
UNION ALL SELECT 26, CAST(JSON_QUERY(j, '$.a' RETURNING ARRAY<STRING>) AS STRING) FROM inputs;
