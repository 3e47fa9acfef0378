-- Which operator joins rows, by what is known of their keys and times.
CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'datagen');
CREATE TABLE payments (customer BIGINT, paid BIGINT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'datagen');
CREATE TABLE customers (customer BIGINT, city STRING) WITH ('connector' = 'datagen');
CREATE TABLE cities (customer BIGINT, city STRING) WITH ('connector' = 'filesystem', 'path' = 'c', 'format' = 'debezium-json');
CREATE TABLE sums (a BIGINT, b BIGINT) WITH ('connector' = 'print');
CREATE TABLE texts (a BIGINT, b STRING, c STRING) WITH ('connector' = 'print');

-- Three inputs by one key are joined at once, with the condition of the last join.
INSERT INTO texts SELECT o.id, c.city, d.city FROM orders AS o
  JOIN customers AS c ON o.customer = c.customer
  JOIN cities AS d ON d.customer = c.customer AND d.city <> c.city;

-- Another key of the second join, a condition of the first one, and a LEFT JOIN: two joins each.
INSERT INTO sums SELECT o.id, p.paid FROM orders AS o
  JOIN customers AS c ON o.customer = c.customer JOIN payments AS p ON p.paid = o.amount;
INSERT INTO sums SELECT o.id, p.paid FROM orders AS o
  JOIN customers AS c ON o.customer = c.customer AND o.amount > CHAR_LENGTH(c.city) JOIN payments AS p ON p.customer = o.customer;
INSERT INTO sums SELECT o.id, p.paid FROM orders AS o
  LEFT JOIN customers AS c ON o.customer = c.customer JOIN payments AS p ON p.customer = o.customer;

-- Times to live of a hint.
INSERT INTO texts SELECT /*+ STATE_TTL('o' = '1 d', 'c' = '0') */ o.id, c.city, c.city FROM orders AS o
  JOIN customers AS c ON o.customer = c.customer;
INSERT INTO sums SELECT /*+ STATE_TTL('orders' = '1 h') */ customer, SUM(amount) FROM orders GROUP BY customer;

-- Rows of close times.
INSERT INTO sums SELECT o.id, p.paid FROM orders AS o JOIN payments AS p
  ON o.customer = p.customer AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1' HOUR;
