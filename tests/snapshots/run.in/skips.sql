CREATE TABLE orders (id BIGINT, region STRING, price DECIMAL(10, 2))
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv', 'on-error' = 'skip');
SET 'parallelism.default' = '1';
SELECT region, SUM(price) AS total, MAX(id) AS newest FROM orders GROUP BY region;
