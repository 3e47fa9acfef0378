SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE dst (k STRING, m INT NOT NULL) WITH ('connector' = 'print');
INSERT INTO dst SELECT k, MAX(v) FROM (VALUES ('a', CAST(NULL AS INT)), ('b', 1), ('b', 2)) AS t (k, v) GROUP BY k;
