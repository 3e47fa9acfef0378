-- what: MATCH_RECOGNIZE: rows that come late, but not too late
CREATE TABLE t (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH (
  'connector' = 'filesystem', 'path' = '${DATA}/disordered.csv', 'format' = 'csv'
);

CREATE TABLE sink (k STRING, n BIGINT, a INT, b INT) WITH ('connector' = 'print');

INSERT INTO sink
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts, v MEASURES COUNT(A.v) AS n, FIRST(A.v) AS a, B.v AS b AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.v > 3) AS m;
