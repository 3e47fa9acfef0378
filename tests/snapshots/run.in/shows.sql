CREATE TABLE orders (id BIGINT NOT NULL, region STRING, price DECIMAL(10, 2), PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');
CREATE VIEW dear AS SELECT id, price FROM orders WHERE price > 2;
SHOW TABLES;
SHOW VIEWS;
DESCRIBE orders;
DESCRIBE dear;
