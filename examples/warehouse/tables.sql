CREATE TABLE top_articles (
  day TEXT, place BIGINT, article TEXT, quantity BIGINT, amount NUMERIC(38, 6), PRIMARY KEY (day, place)
);
CREATE TABLE campaigns (
  campaign TEXT PRIMARY KEY, visitors BIGINT, buyers BIGINT, payers BIGINT, conversion NUMERIC(5, 1)
);
CREATE TABLE regions (
  region TEXT PRIMARY KEY, orders BIGINT, cancelled BIGINT, amount NUMERIC(38, 6), paid NUMERIC(38, 2)
);
