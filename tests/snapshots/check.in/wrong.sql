CREATE TABLE orders (id BIGINT, price DECIMAL(10, 2), ts TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');
SELECT prise FROM orders;
SELECT id FROM ordrs;
SELECT SUM(id FROM orders;
INSERT INTO orders SELECT id, 'x', ts FROM orders;
SELECT UPPERR('a');
SELECT id + ts FROM orders;
