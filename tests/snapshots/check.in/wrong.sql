CREATE TABLE orders (id BIGINT, price DECIMAL(10, 2), at TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');
SELECT prise FROM orders;
SELECT id FROM order;
SELECT SUM(id FROM orders;
INSERT INTO orders SELECT id, 'x', at FROM orders;
SELECT UPPERR('a');
SELECT id + at FROM orders;
