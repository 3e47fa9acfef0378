#!/usr/bin/env python3
"""Makes what comes into the warehouse, the same each time: `feed.py FOLDER` writes FOLDER/0/TOPIC and FOLDER/1/TOPIC, the first and
the second half, as lines of key, tab, value, and the dimensions as FOLDER/articles.sql and FOLDER/customers.redis."""
import datetime
import json
import random
import sys
from pathlib import Path

START = datetime.datetime(2026, 3, 2)
MIDDLE = datetime.datetime(2026, 3, 3, 12, 0, 0)
# Three days. What comes at the end only moves time on.
END = datetime.datetime(2026, 3, 5, 6)
HOURS = 72
CURRENCIES = {"EUR": 10000, "USD": 9200, "CHF": 10500, "GBP": 11800}
CAMPAIGNS = ["newsletter", "search", "friends", "banner"]
CATEGORIES = ["books", "garden", "games", "kitchen"]


def seconds(n):
    return datetime.timedelta(seconds=n)


class Shop:
    """What happened, as plain lists. Amounts are whole numbers: prices in cents, rates in ten-thousandths of a euro."""

    def __init__(self):
        self.draw = random.Random(5)
        numbers = range(1, 61)
        # Two articles and some customers are in no dimension.
        self.articles = {f"A{n}": (f"Article {n}", CATEGORIES[n % 4]) for n in numbers if n not in (7, 13)}
        self.customers = {f"C{n}": (self.draw.choice(["north", "south", "west"]), "gold" if n % 9 == 0 else "basic")
                          for n in range(1, 3001) if n % 20}
        self.prices = self.price_changes([f"A{n}" for n in numbers])
        self.rates = [(c, rate + (0 if c == "EUR" else self.draw.randint(-300, 300)), START + seconds(3600 * h) + self.after(n))
                      for h in range(HOURS) for n, (c, rate) in enumerate(CURRENCIES.items())]
        self.behaviour = self.clicks()
        # What happens to orders and payments: time, number, the state before and after.
        self.orders, self.lines, self.order_changes = [], [], []
        self.payments, self.payment_changes = {}, []
        for number in range(1, 1501):
            self.order(number)

    @staticmethod
    def after(n):
        """Versions begin between seconds, and no two of them at one time."""
        return datetime.timedelta(milliseconds=100 + n)

    def time(self):
        return START + seconds(self.draw.randrange(600, HOURS * 3600 - 7200))

    def price_changes(self, articles):
        """Article, cents, time."""
        first = [(a, self.draw.randint(100, 9999), START + self.after(n)) for n, a in enumerate(articles)]
        times = sorted(self.draw.sample(range(600, HOURS * 3600), 400))
        return first + [(self.draw.choice(articles), self.draw.randint(100, 9999), START + seconds(t) + self.after(0)) for t in times]

    def clicks(self):
        """Customer, campaign, action, time."""
        made = [(f"C{self.draw.randint(1, 3000)}", self.draw.choice(CAMPAIGNS), self.draw.choice(["view", "view", "cart"]), self.time())
                for _ in range(6000)]
        return [(*c, t + datetime.timedelta(milliseconds=n % 1000)) for n, (*c, t) in enumerate(sorted(made, key=lambda c: c[3]))]

    def order(self, number):
        draw, placed, customer = self.draw, self.time(), f"C{self.draw.randint(1, 3000)}"
        self.orders.append([number, customer, "placed", placed])
        self.order_changes.append((placed, number, None, "placed"))
        articles = draw.sample(range(1, 61), draw.randint(1, 5))
        for line, article in enumerate(articles, 1):
            # Some bestsellers, so that the first places stay with few.
            article = draw.randint(1, 6) if draw.random() < 0.3 else article
            self.lines.append((number, line, customer, f"A{article}", draw.randint(1, 4), draw.choice(list(CURRENCIES)), placed))
        end = "cancelled" if draw.random() < 0.12 else "shipped" if draw.random() < 0.7 else None
        if end:
            self.order_changes.append((placed + seconds(draw.randint(60, 90000)), number, "placed", end))
            self.orders[-1][2] = end
        for part in range(draw.choice([0, 1, 1, 1, 2])):
            self.payment(number * 10 + part, number, placed)

    def payment(self, number, order, placed):
        time = placed + seconds(self.draw.randint(1, 3600))
        self.payments[number] = [order, self.draw.randint(100, 20000), "pending"]
        self.payment_changes.append((time, number, None, "pending"))
        if self.draw.random() < 0.9:
            self.payment_changes.append((time + seconds(self.draw.randint(1, 7200)), number, "pending", "settled"))
            self.payments[number][2] = "settled"
            if self.draw.random() < 0.1:
                self.payment_changes.append((time + seconds(90000), number, "settled", None))
                del self.payments[number]


class Feed:
    def __init__(self):
        self.sent = []

    def send(self, time, topic, key, value):
        self.sent.append((time, topic, f"{key}\t{json.dumps(value)}\n"))

    def write(self, folder):
        for half in "01":
            (folder / half).mkdir(parents=True, exist_ok=True)
        files = {}
        for time, topic, line in sorted(self.sent, key=lambda s: s[0]):
            files.setdefault((time >= MIDDLE, topic), []).append(line)
        for (half, topic), lines in files.items():
            (folder / str(int(half)) / topic).write_text("".join(lines))


def changes_of_orders(shop, feed):
    known = {number: (customer, placed) for number, customer, _, placed in shop.orders}

    def row(number, state):
        customer, placed = known[number]
        return state and {"id": number, "customer": customer, "state": state, "placed": str(placed)}

    for time, number, before, after in shop.order_changes:
        feed.send(time, "orders", number, {"before": row(number, before), "after": row(number, after), "op": "u" if before else "c"})


def changes_of_payments(shop, feed):
    known = {}

    def row(number, state):
        order, cents = known[number]
        return {"id": str(number), "order_id": str(order), "amount": f"{cents / 100:.2f}", "state": state}

    draw = {number: p for number, p in shop.payments.items()}
    for time, number, before, after in shop.payment_changes:
        # What was deleted has no row any more; its amount matters to nobody.
        known[number] = tuple(draw[number][:2]) if number in draw else (number // 10, 777)
        change = {"database": "bank", "table": "payments", "pkNames": ["id"], "isDdl": False, "ts": int(time.timestamp() * 1000)}
        if before is None:
            change |= {"type": "INSERT", "data": [row(number, after)], "old": None}
        elif after is None:
            change |= {"type": "DELETE", "data": [row(number, before)], "old": None}
        else:
            change |= {"type": "UPDATE", "data": [row(number, after)], "old": [{"state": before}]}
        feed.send(time, "payments", number, change)


def versions(shop, feed):
    now = {}
    for article, cents, since in [*shop.prices, ("check", 0, END)]:
        row = {"article": article, "price": cents / 100, "since": str(since)}
        feed.send(since, "prices", article, {"before": now.get(article), "after": row, "op": "u" if article in now else "c"})
        now[article] = row
    for currency, rate, since in [*shop.rates, ("check", 0, END)]:
        feed.send(since, "rates", currency, {"currency": currency, "rate": rate / 10000, "since": str(since)})


def events(shop, feed):
    def line(time, row):
        names = ["order_id", "line", "customer", "article", "quantity", "currency"]
        feed.send(time, "order_lines", row[0], {**dict(zip(names, row)), "ordered": str(row[-1])})

    def click(row):
        feed.send(row[-1], "behaviour", row[0], {**dict(zip(["customer", "campaign", "action"], row)), "done": str(row[-1])})

    for row in shop.lines:
        # Up to half a minute out of order.
        line(row[-1] + seconds(shop.draw.randint(0, 30)), row)
    for row in shop.behaviour:
        click(row)
    # Of all partitions. The price is there from the end on, and the order is a second behind it.
    for n in range(64):
        line(END + seconds(1), (-n, 1, f"check-{n}", "check", 1, "check", END + seconds(1)))
        line(END + seconds(7200), (-n, 2, f"check-{n}", "check", 1, "check", END + seconds(7200)))
        click((f"check-{n}", "check", "check", END))
    for n, topic, names in [(1, "prices", ("article", "price")), (2, "rates", ("currency", "rate"))]:
        row = {names[0]: "check", names[1]: 0, "since": str(END + seconds(7200) + seconds(n))}
        change = {"before": {**row, "since": str(END)}, "after": row, "op": "u"}
        feed.send(END + seconds(7201), topic, "check", change if topic == "prices" else row)


def main(folder):
    shop, feed = Shop(), Feed()
    changes_of_orders(shop, feed)
    changes_of_payments(shop, feed)
    versions(shop, feed)
    events(shop, feed)
    feed.write(folder)
    values = ",\n  ".join(f"('{a}', '{title}', '{category}')" for a, (title, category) in shop.articles.items())
    table = "CREATE TABLE articles (article VARCHAR(20) PRIMARY KEY, title VARCHAR(100), category VARCHAR(20))"
    (folder / "articles.sql").write_text(f"{table};\nINSERT INTO articles VALUES\n  {values};\n")
    commands = [f"HSET customer:{c} region {region} level {level}\n" for c, (region, level) in shop.customers.items()]
    (folder / "customers.redis").write_text("".join(commands))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
