-- A real-time warehouse: topics and change records in, joined as of their time with prices and rates and with dimensions in MariaDB
-- and Redis; a detail layer and a summary layer in topics of their own; results in ClickHouse and PostgreSQL. ./run starts the servers.

SET 'execution.checkpointing.interval' = '200 ms';

-- 1. What comes in.

-- The orders, as Debezium reads them from the shop's database: they are placed, and some of them are cancelled.
CREATE TABLE orders (id BIGINT, customer STRING, state STRING, placed TIMESTAMP(3), PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'debezium-json',
  'scan.startup.mode' = 'earliest-offset'
);

-- The payments, as Canal reads them from another one.
CREATE TABLE payments (id BIGINT, order_id BIGINT, amount DECIMAL(10, 2), state STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'kafka', 'topic' = 'payments', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'canal-json',
  'canal-json.table.include' = 'payments', 'scan.startup.mode' = 'earliest-offset'
);

CREATE TABLE order_lines (
  order_id BIGINT, line INT, customer STRING, article STRING, quantity INT, currency STRING, ordered TIMESTAMP(3),
  arrived AS PROCTIME(),
  WATERMARK FOR ordered AS ordered - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'order_lines', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

CREATE TABLE behaviour (
  customer STRING, campaign STRING, `action` STRING, done TIMESTAMP(3), WATERMARK FOR done AS done - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = 'behaviour', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

-- Prices change, and so do rates. Each version holds from its time on: of prices as change records, of rates by key.
CREATE TABLE prices (
  article STRING, price DECIMAL(10, 2), since TIMESTAMP(3), PRIMARY KEY (article) NOT ENFORCED, WATERMARK FOR since AS since
) WITH (
  'connector' = 'kafka', 'topic' = 'prices', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'debezium-json',
  'scan.startup.mode' = 'earliest-offset', 'scan.watermark.idle-timeout' = '0 s'
);

CREATE TABLE rates (
  currency STRING, rate DECIMAL(10, 4), since TIMESTAMP(3), PRIMARY KEY (currency) NOT ENFORCED, WATERMARK FOR since AS since
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'rates', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'raw', 'value.format' = 'json', 'scan.watermark.idle-timeout' = '0 s'
);

CREATE TABLE articles (article STRING, title STRING, category STRING) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:mysql://${MYSQL}/shop', 'username' = 'root', 'table-name' = 'articles',
  'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.expire-after-write' = '10 min', 'lookup.partial-cache.max-rows' = '10000'
);

CREATE TABLE customers (customer STRING, region STRING, level STRING, PRIMARY KEY (customer) NOT ENFORCED) WITH (
  'connector' = 'redis', 'url' = 'redis://${REDIS}/0', 'password' = '${REDIS_PASSWORD}', 'key-prefix' = 'customer:'
);

-- 2. The detail layer: each line of an order with what it cost then, in euros.

CREATE TABLE order_details_topic (
  order_id BIGINT, line INT, customer STRING, region STRING, article STRING, title STRING, category STRING, quantity INT,
  amount DECIMAL(20, 6), ordered TIMESTAMP(3)
) WITH (
  'connector' = 'kafka', 'topic' = 'order_details', 'properties.bootstrap.servers' = '${KAFKA}', 'format' = 'json',
  'key.format' = 'json', 'key.fields' = 'order_id', 'sink.delivery-guarantee' = 'exactly-once', 'sink.parallelism' = '1'
);

-- Joins emit rows by key when time has passed them. Who reads the topic wants them in the order of time.
INSERT INTO order_details_topic
SELECT l.order_id, l.line, l.customer, COALESCE(c.region, 'unknown'), l.article, a.title, COALESCE(a.category, 'unknown'),
  l.quantity, CAST(l.quantity * p.price * r.rate AS DECIMAL(20, 6)), l.ordered
FROM order_lines AS l
JOIN prices FOR SYSTEM_TIME AS OF l.ordered AS p ON l.article = p.article
JOIN rates FOR SYSTEM_TIME AS OF l.ordered AS r ON l.currency = r.currency
LEFT JOIN articles FOR SYSTEM_TIME AS OF l.arrived AS a ON l.article = a.article
LEFT JOIN customers FOR SYSTEM_TIME AS OF l.arrived AS c ON l.customer = c.customer
ORDER BY l.ordered;

-- The same topic, as it is read.
CREATE TABLE order_details (WATERMARK FOR ordered AS ordered - INTERVAL '1' SECOND) WITH (
  'scan.startup.mode' = 'earliest-offset', 'properties.isolation.level' = 'read_committed', 'scan.watermark.idle-timeout' = '0 s'
) LIKE order_details_topic;

CREATE TABLE details_in_clickhouse (
  order_id BIGINT, line INT, customer STRING, region STRING, article STRING, title STRING, category STRING, quantity INT,
  amount DECIMAL(20, 6), ordered TIMESTAMP(3)
) WITH (
  'connector' = 'clickhouse', 'url' = '${CLICKHOUSE_URL}', 'table-name' = 'order_details', 'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO details_in_clickhouse SELECT * FROM order_details;

-- 3. The summary layer: sales of each article and day, without cancelled orders.

CREATE TABLE article_days (
  `day` STRING, article STRING, quantity BIGINT, amount DECIMAL(38, 6), PRIMARY KEY (`day`, article) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'article_days', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO article_days
SELECT DATE_FORMAT(d.ordered, 'yyyy-MM-dd'), d.article, SUM(d.quantity), SUM(d.amount)
FROM order_details AS d JOIN orders AS o ON d.order_id = o.id
WHERE o.state <> 'cancelled'
GROUP BY DATE_FORMAT(d.ordered, 'yyyy-MM-dd'), d.article;

-- 4. Results.

-- The five articles of each day that sold best.
CREATE TABLE top_articles (
  `day` STRING, place BIGINT, article STRING, quantity BIGINT, amount DECIMAL(38, 6), PRIMARY KEY (`day`, place) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres', 'table-name' = 'top_articles'
);

INSERT INTO top_articles
SELECT `day`, place, article, quantity, amount
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY `day` ORDER BY amount DESC, article) AS place FROM article_days)
WHERE place <= 5;

-- Sales of each hour by category: once, when the hour is over.
CREATE TABLE category_hours (`hour` TIMESTAMP(3), category STRING, orders BIGINT, quantity BIGINT, amount DECIMAL(38, 6)) WITH (
  'connector' = 'clickhouse', 'url' = '${CLICKHOUSE_URL}', 'table-name' = 'category_hours', 'sink.delivery-guarantee' = 'exactly-once'
);

INSERT INTO category_hours
SELECT window_start, category, COUNT(DISTINCT order_id), SUM(quantity), SUM(amount)
FROM TABLE(TUMBLE(TABLE order_details, DESCRIPTOR(ordered), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, category;

-- Of those who came by a campaign first: how many placed an order, and how many paid one.
CREATE TABLE campaigns (
  campaign STRING, visitors BIGINT, buyers BIGINT, payers BIGINT, conversion DECIMAL(5, 1), PRIMARY KEY (campaign) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres', 'table-name' = 'campaigns'
);

INSERT INTO campaigns
WITH
  visitors AS (
    SELECT customer, campaign
    FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY done) AS n FROM behaviour WHERE `action` = 'view')
    WHERE n = 1
  ),
  buyers AS (SELECT DISTINCT customer FROM orders WHERE state <> 'cancelled'),
  payers AS (
    SELECT DISTINCT o.customer FROM orders AS o JOIN payments AS p ON p.order_id = o.id
    WHERE o.state <> 'cancelled' AND p.state = 'settled'
  )
SELECT v.campaign, COUNT(*), COUNT(b.customer), COUNT(p.customer), CAST(COUNT(b.customer) * 100.0 / COUNT(*) AS DECIMAL(5, 1))
FROM visitors AS v
LEFT JOIN buyers AS b ON v.customer = b.customer
LEFT JOIN payers AS p ON v.customer = p.customer
GROUP BY v.campaign;

-- Each order with what it costs and what of that is paid; of each region what is open.
CREATE VIEW order_sums AS
SELECT order_id, region, SUM(amount) AS amount, COUNT(*) AS line_count FROM order_details GROUP BY order_id, region;

CREATE VIEW settled AS SELECT order_id, SUM(amount) AS paid FROM payments WHERE state = 'settled' GROUP BY order_id;

CREATE TABLE regions (
  region STRING, orders BIGINT, cancelled BIGINT, amount DECIMAL(38, 6), paid DECIMAL(38, 2), PRIMARY KEY (region) NOT ENFORCED
) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://${POSTGRES}/postgres', 'username' = 'postgres', 'table-name' = 'regions'
);

INSERT INTO regions
SELECT s.region, COUNT(*), COUNT(*) FILTER (WHERE o.state = 'cancelled'),
  SUM(s.amount) FILTER (WHERE o.state <> 'cancelled'), SUM(p.paid)
FROM order_sums AS s
JOIN orders AS o ON s.order_id = o.id
LEFT JOIN settled AS p ON s.order_id = p.order_id
GROUP BY s.region;
