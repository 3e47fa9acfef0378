CREATE TABLE view (sort INT, `format` STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (a INT, b STRING, c INT, d INT, e INT) WITH ('connector' = 'print');
INSERT INTO dst WITH settings AS (SELECT sort, format, CAST(ROW(sort) AS ROW<top INT>) operator FROM view semi)
SELECT anti.sort cluster, anti.format AS xor, anti.operator.top regexp, first, data.id
FROM (SELECT sort, format, operator, sort AS first, CAST(ROW(sort) AS ROW<id INT>) AS data FROM settings sample) AS anti;
