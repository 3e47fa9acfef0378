CREATE TABLE orders (id BIGINT, region STRING, price DECIMAL(10, 2))
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');
SELECT id, region, price FROM orders;
