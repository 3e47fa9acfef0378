SET 'parallelism.default' = '2';
CREATE TABLE orders (id BIGINT, region STRING, price DECIMAL(10, 2))
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');
CREATE TABLE sums (region STRING, n BIGINT, total DECIMAL(38, 2)) WITH ('connector' = 'print');
INSERT INTO sums SELECT region, COUNT(*), SUM(price) FROM orders WHERE price > 1 GROUP BY region;
