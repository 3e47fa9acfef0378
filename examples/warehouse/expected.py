#!/usr/bin/env python3
"""Computes in SQLite what the tables must hold: `expected.py TABLE` prints it, tabs between columns, amounts in millionths."""
import decimal
import sqlite3
import sys

import feed

TABLES = """
CREATE TABLE articles (article, title, category);
CREATE TABLE customers (customer, region, level);
CREATE TABLE prices (article, price, since);
CREATE TABLE rates (currency, rate, since);
CREATE TABLE behaviour (customer, campaign, done_what, done);
CREATE TABLE orders (id, customer, state, placed);
CREATE TABLE order_lines (order_id, line, customer, article, quantity, currency, ordered);
CREATE TABLE payments (id, order_id, amount, state);
CREATE INDEX prices_since ON prices (article, since);
CREATE INDEX rates_since ON rates (currency, since);
"""

DETAILS = """
CREATE TABLE order_details AS
SELECT l.order_id, l.line, l.customer, COALESCE(c.region, 'unknown') AS region, l.article,
  COALESCE(a.category, 'unknown') AS category, l.quantity, l.ordered,
  l.quantity
    * (SELECT p.price FROM prices p WHERE p.article = l.article AND p.since <= l.ordered ORDER BY p.since DESC LIMIT 1)
    * (SELECT r.rate FROM rates r WHERE r.currency = l.currency AND r.since <= l.ordered ORDER BY r.since DESC LIMIT 1)
  AS amount
FROM order_lines l LEFT JOIN articles a ON a.article = l.article LEFT JOIN customers c ON c.customer = l.customer
"""

QUERIES = {
    "order_details": """
        SELECT order_id, line, customer, region, article, category, quantity, amount, ordered FROM order_details ORDER BY 1, 2""",
    "top_articles": """
        WITH days AS (
          SELECT date(d.ordered) AS day, d.article, SUM(d.quantity) AS quantity, SUM(d.amount) AS amount
          FROM order_details d JOIN orders o ON o.id = d.order_id AND o.state <> 'cancelled' GROUP BY 1, 2
        ), places AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY day ORDER BY amount DESC, article) AS place FROM days)
        SELECT day, place, article, quantity, amount FROM places WHERE place <= 5 ORDER BY 1, 2""",
    "category_hours": """
        SELECT strftime('%Y-%m-%d %H:00:00', ordered), category, COUNT(DISTINCT order_id), SUM(quantity), SUM(amount)
        FROM order_details GROUP BY 1, 2 ORDER BY 1, 2""",
    "campaigns": """
        WITH visitors AS (
          SELECT customer, campaign FROM behaviour b WHERE done_what = 'view' AND NOT EXISTS (
            SELECT 1 FROM behaviour c WHERE c.customer = b.customer AND c.done_what = 'view' AND c.done < b.done)
        )
        SELECT campaign, COUNT(*), SUM(customer IN (SELECT customer FROM orders WHERE state <> 'cancelled')),
          SUM(customer IN (SELECT o.customer FROM orders o JOIN payments p ON p.order_id = o.id
                           WHERE o.state <> 'cancelled' AND p.state = 'settled'))
        FROM visitors GROUP BY 1 ORDER BY 1""",
    "regions": """
        WITH sums AS (SELECT order_id, region, SUM(amount) AS amount FROM order_details GROUP BY 1, 2)
        SELECT s.region, COUNT(*), SUM(o.state = 'cancelled'), SUM(s.amount * (o.state <> 'cancelled')),
          10000 * SUM((SELECT SUM(p.amount) FROM payments p WHERE p.order_id = o.id AND p.state = 'settled'))
        FROM sums s JOIN orders o ON o.id = s.order_id GROUP BY 1 ORDER BY 1""",
}


def filled():
    shop, db = feed.Shop(), sqlite3.connect(":memory:")
    db.executescript(TABLES)

    def fill(table, rows):
        rows = [tuple(str(v) if hasattr(v, "year") else v for v in row) for row in rows]
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)

    fill("articles", [(a, *of) for a, of in shop.articles.items()])
    fill("customers", [(c, *of) for c, of in shop.customers.items()])
    fill("payments", [(p, *of) for p, of in shop.payments.items()])
    for table, rows in [("prices", shop.prices), ("rates", shop.rates), ("behaviour", shop.behaviour),
                        ("orders", shop.orders), ("order_lines", shop.lines)]:
        fill(table, rows)
    db.execute(DETAILS)
    return db


def main(table):
    for row in filled().execute(QUERIES[table]):
        row = list(row)
        if table == "campaigns":
            share = decimal.Decimal(row[2] * 100) / row[1]
            row.append(share.quantize(decimal.Decimal("0.1"), decimal.ROUND_HALF_UP))
        print("\t".join(str(value) for value in row))


if __name__ == "__main__":
    main(sys.argv[1])
