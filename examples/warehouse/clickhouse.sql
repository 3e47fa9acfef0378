CREATE TABLE order_details (
  order_id Int64, line Int32, customer String, region String, article String, title Nullable(String), category String, quantity Int32,
  amount Decimal(20, 6), ordered DateTime64(3)
) ENGINE = MergeTree ORDER BY (order_id, line) SETTINGS non_replicated_deduplication_window = 10000;
CREATE TABLE category_hours (
  hour DateTime64(3), category String, orders Int64, quantity Int64, amount Decimal(38, 6)
) ENGINE = MergeTree ORDER BY (hour, category) SETTINGS non_replicated_deduplication_window = 10000;
