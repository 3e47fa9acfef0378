CREATE TABLE dst (a BOOLEAN, b BOOLEAN, n BIGINT, m STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT b = X'80', b = X'81', COUNT(*), MAX(CASE WHEN b = X'82' THEN 'x' ELSE 'y' END)
  FROM (VALUES (X'80'), (X'80'), (X'81'), (X'82')) AS t (b) GROUP BY b = X'80', b = X'81' HAVING COUNT(*) FILTER (WHERE b = X'83') = 0;
