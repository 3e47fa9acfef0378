-- Made-up accesses by province, as they change.
CREATE TABLE drawn (a INT, b INT, c INT, d INT, response_size BIGINT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '100',
  'fields.a.min' = '1', 'fields.a.max' = '223', 'fields.b.min' = '0', 'fields.b.max' = '255',
  'fields.c.min' = '0', 'fields.c.max' = '255', 'fields.d.min' = '0', 'fields.d.max' = '255',
  'fields.response_size.min' = '100', 'fields.response_size.max' = '100000'
);

CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE PYTHON
  USING FILE '/opt/weir/examples/cdn-log-analysis/udf/ip_to_province.py';

SELECT province, COUNT(*) AS accesses, SUM(response_size) AS `bytes`
FROM (
  SELECT ip_to_province(CONCAT_WS('.', CAST(a AS STRING), CAST(b AS STRING), CAST(c AS STRING), CAST(d AS STRING))) AS province,
         response_size
  FROM drawn
)
GROUP BY province;
