-- what: JSON_UNQUOTE, JSON_QUOTE and JSON_STRING of odd texts
CREATE TABLE sink (n INT, v STRING) WITH ('connector' = 'print');

CREATE TEMPORARY VIEW inputs AS SELECT * FROM (VALUES ('"x"'), ('"x'), ('x"'), ('x'), ('"a\u0041"'), ('"a\ud83d\ude00"'), ('"a\qb"'), ('"a\/b"'), ('"a"b"'), ('""'), ('"'), ('{"a":1}'), ('[1]'), ('5'), ('null'), ('"a\"b"'), ('"a\\b"'), ('"\u00"'), (' "x" '), ('"x" '), ('"a	b"'), (''), (''''), ('"{\"a\":1}"'), ('"\u12"'), ('"\"'), ('[\u0041]'), ('{"a":"\u0041"}'), ('a/b'), ('"\u00e9"'), ('"\U00e9"'), (U&'a\0001b\007f\0080\2028')) AS t (s);

INSERT INTO sink
SELECT 1, CAST(JSON_UNQUOTE(s) AS STRING) FROM inputs
UNION ALL SELECT 2, CAST(JSON_QUOTE(s) AS STRING) FROM inputs
UNION ALL SELECT 3, CAST(JSON_STRING(s) AS STRING) FROM inputs;
