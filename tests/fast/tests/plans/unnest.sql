CREATE TABLE t (a INT, tags ARRAY<STRING>, m MAP<STRING, INT>, unread INT) WITH ('connector' = 'datagen');
CREATE TABLE o (a INT, tag STRING, n INT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT a, tag, n FROM t CROSS JOIN UNNEST(tags) WITH ORDINALITY AS u (tag, n);
INSERT INTO o SELECT a, k, 1 FROM t LEFT JOIN UNNEST(m) AS u (k, v) ON TRUE WHERE a > 1;
INSERT INTO o SELECT a, x, 1 FROM t, UNNEST(ARRAY['x', tags[1]]) AS u (x) WHERE x <> 'y';
