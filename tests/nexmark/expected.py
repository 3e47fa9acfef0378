#!/usr/bin/env python3
"""Computes from the events themselves what Nexmark's queries must give, and compares: `expected.py EVENTS RESULTS QUERY…`. EVENTS has a
folder with lines of JSON for each kind of event, RESULTS one with changes in Debezium's JSON for each query; q10 writes CSV."""
import collections
import csv
import datetime
import decimal
import glob
import json
import os
import re
import sys

SECOND = 1_000
TIMES = {"dateTime", "expires", "starttime", "endtime", "stime", "bid_dateTime", "auction_dateTime"}
HOT_CHANNELS = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}
EPOCH = datetime.datetime(1970, 1, 1)


def millis(text):
    if text is None:
        return None
    return (datetime.datetime.fromisoformat(text.replace(" ", "T")) - EPOCH) // datetime.timedelta(milliseconds=1)


def time_of(ms):
    return EPOCH + datetime.timedelta(milliseconds=ms)


def lines(folder):
    for path in glob.glob(f"{folder}/part-*"):
        with open(path, encoding="utf-8") as f:
            for line in f:
                yield json.loads(line, parse_float=decimal.Decimal)


def with_times(row):
    return {k: millis(v) if k in TIMES else v for k, v in row.items()}


def events(folder):
    """All events of a kind, in the order of their times, which no two of them share."""
    return sorted((with_times(r) for r in lines(folder)), key=lambda r: r["dateTime"])


def values(row, names):
    return tuple(row[n] for n in names.split())


def day(bid):
    return time_of(bid["dateTime"]).strftime("%Y-%m-%d")


class Site:
    def __init__(self, folder):
        self.people, self.auctions, self.bids = (events(f"{folder}/{kind}") for kind in ("person", "auction", "bid"))
        self.person = {p["id"]: p for p in self.people}
        self.auction = {a["id"]: a for a in self.auctions}

    def bids_in_time(self):
        """Pairs of an auction and a bid while it was open."""
        for b in self.bids:
            a = self.auction.get(b["auction"])
            if a and a["dateTime"] <= b["dateTime"] <= a["expires"]:
                yield a, b

    def winners(self):
        """The auctions with their winning bids: the first of the highest."""
        best = {}
        for a, b in self.bids_in_time():
            if a["id"] not in best or b["price"] > best[a["id"]][1]["price"]:
                best[a["id"]] = a, b
        return best.values()

    def q0(self):
        return [values(b, "auction bidder price dateTime extra") for b in self.bids]

    def q1(self):
        return [(b["auction"], b["bidder"], euros(b), b["dateTime"], b["extra"]) for b in self.bids]

    def q2(self):
        return [values(b, "auction price") for b in self.bids if b["auction"] % 123 == 0]

    def q3(self):
        for a in self.auctions:
            p = self.person.get(a["seller"])
            if a["category"] == 10 and p and p["state"] in ("OR", "ID", "CA"):
                yield values(p, "name city state") + (a["id"],)

    def q4(self):
        prices = collections.defaultdict(list)
        for a, b in self.winners():
            prices[a["category"]].append(b["price"])
        return [(category, sum(p) // len(p)) for category, p in prices.items()]

    def q5(self):
        counts = collections.defaultdict(collections.Counter)
        for b in self.bids:
            last = b["dateTime"] // (2 * SECOND) * 2 * SECOND
            for start in range(last - 8 * SECOND, last + 1, 2 * SECOND):
                counts[start][b["auction"]] += 1
        for of_window in counts.values():
            most = max(of_window.values())
            yield from ((auction, n) for auction, n in of_window.items() if n == most)

    def q6(self):
        sold = collections.defaultdict(list)
        for a, b in self.winners():
            sold[a["seller"]].append((b["dateTime"], a["id"], b["price"]))
        for seller, of_seller in sold.items():
            prices = [price for _, _, price in sorted(of_seller)[-10:]]
            yield seller, sum(prices) // len(prices)

    def q7(self):
        highest = collections.defaultdict(int)
        for b in self.bids:
            end = b["dateTime"] // (10 * SECOND) * 10 * SECOND + 10 * SECOND
            highest[end] = max(highest[end], b["price"])
        for end, price in highest.items():
            for b in self.bids:
                if b["price"] == price and end - 10 * SECOND <= b["dateTime"] <= end:
                    yield values(b, "auction bidder price dateTime extra")

    def q8(self):
        def window(row):
            return row["dateTime"] // (10 * SECOND) * 10 * SECOND

        sellers = {(a["seller"], window(a)) for a in self.auctions}
        for p in self.people:
            if (p["id"], window(p)) in sellers:
                yield p["id"], p["name"], window(p)

    def q9(self):
        for a, b in self.winners():
            yield (values(a, "id itemName description initialBid reserve dateTime expires seller category extra")
                   + values(b, "auction bidder price dateTime extra"))

    def q10(self):
        return [values(b, "auction bidder price dateTime extra") + (day(b), time_of(b["dateTime"]).strftime("%H:%M")) for b in self.bids]

    def q11(self):
        sessions = {}
        for b in self.bids:
            first, last, n = sessions.get(b["bidder"], (b["dateTime"], b["dateTime"], 0))
            if b["dateTime"] - last > 10 * SECOND:
                yield b["bidder"], n, first, last + 10 * SECOND
                first, n = b["dateTime"], 0
            sessions[b["bidder"]] = first, b["dateTime"], n + 1
        for bidder, (first, last, n) in sessions.items():
            yield bidder, n, first, last + 10 * SECOND

    def q12(self):
        """Windows follow the time of day, so only their sums are known."""
        return collections.Counter(b["bidder"] for b in self.bids).items()

    def q13(self):
        return [values(b, "auction bidder price dateTime") + (str(b["auction"] % 10_000),) for b in self.bids]

    def q14(self):
        for b in self.bids:
            if 1_000_000 < euros(b) < 50_000_000:
                hour = time_of(b["dateTime"]).hour
                kind = "dayTime" if 8 <= hour <= 18 else "nightTime" if hour <= 6 or hour >= 20 else "otherTime"
                yield b["auction"], b["bidder"], euros(b), kind, b["dateTime"], b["extra"], b["extra"].count("c")

    def q15(self):
        return [(key, *ranks(bids), *distinct(bids)) for key, bids in grouped(self.bids, day)]

    def q16(self):
        for (channel, on), bids in grouped(self.bids, lambda b: (b["channel"], day(b))):
            minute = max(time_of(b["dateTime"]).strftime("%H:%M") for b in bids)
            yield channel, on, minute, *ranks(bids), *distinct(bids)

    def q17(self):
        for (auction, on), bids in grouped(self.bids, lambda b: (b["auction"], day(b))):
            prices = [b["price"] for b in bids]
            yield auction, on, *ranks(bids), min(prices), max(prices), sum(prices) // len(prices), sum(prices)

    def q18(self):
        last = {(b["bidder"], b["auction"]): b for b in self.bids}
        return [values(b, "auction bidder price channel url dateTime extra") for b in last.values()]

    def q19(self):
        for _, bids in grouped(self.bids, lambda b: b["auction"]):
            bids.sort(key=lambda b: -b["price"])
            # Which of equal prices comes first is not defined, so only those without an equal are compared as a whole.
            prices = collections.Counter(b["price"] for b in bids)
            for place, b in enumerate(bids[:10], 1):
                yield (place, b["price"]) if prices[b["price"]] > 1 else values(b, "auction bidder price channel url dateTime extra") + (place,)

    def q20(self):
        for b in self.bids:
            a = self.auction.get(b["auction"])
            if a and a["category"] == 10:
                yield (values(b, "auction bidder price channel url dateTime extra")
                       + values(a, "itemName description initialBid reserve dateTime expires seller category extra"))

    def q21(self):
        for b in self.bids:
            found = re.search("(&|^)channel_id=([^&]*)", b["url"])
            channel = HOT_CHANNELS.get(b["channel"].lower(), found and found[2])
            if channel is not None:
                yield values(b, "auction bidder price channel") + (channel,)

    def q22(self):
        return [values(b, "auction bidder price channel") + tuple(b["url"].split("/")[3:6]) for b in self.bids]

    def q23(self):
        of_seller = collections.defaultdict(list)
        for a in self.auctions:
            of_seller[a["seller"]].append(a)
        for b in self.bids:
            p = self.person.get(b["bidder"])
            for a in of_seller[b["bidder"]] if p else []:
                yield (values(b, "bidder price channel url extra") + values(p, "id name emailAddress creditCard city state extra")
                       + values(a, "itemName description initialBid reserve dateTime expires seller category extra"))


def euros(bid):
    return bid["price"] * decimal.Decimal("0.908")


def grouped(bids, key):
    groups = collections.defaultdict(list)
    for b in bids:
        groups[key(b)].append(b)
    return groups.items()


def by_rank(bids):
    """All bids, then those of each range of prices."""
    return [bids, [b for b in bids if b["price"] < 10_000], [b for b in bids if 10_000 <= b["price"] < 1_000_000],
            [b for b in bids if b["price"] >= 1_000_000]]


def ranks(bids):
    return [len(of_rank) for of_rank in by_rank(bids)]


def distinct(bids):
    return [len({b[name] for b in of_rank}) for name in ("bidder", "auction") for of_rank in by_rank(bids)]


def changes(folder):
    """What the changes in a folder add up to."""
    rows = collections.Counter()
    for change in lines(folder):
        for part, sign in (("before", -1), ("after", 1)):
            if change[part] is not None:
                rows[tuple(with_times(change[part]).values())] += sign
    return rows


def written(folder, query):
    if query == "q10":
        rows = collections.Counter()
        for path in glob.glob(f"{folder}/dt=*/hm=*/part-*"):
            dt, hm = (os.path.basename(p).split("=")[1] for p in (os.path.dirname(os.path.dirname(path)), os.path.dirname(path)))
            with open(path, encoding="utf-8", newline="") as f:
                for auction, bidder, price, at, extra in csv.reader(f):
                    rows[int(auction), int(bidder), int(price), millis(at), extra, dt, hm.replace("%3A", ":")] += 1
        return rows
    rows = changes(folder)
    if query == "q12":
        sums = collections.Counter()
        for (bidder, n, start, end), times in rows.items():
            if end - start != 10 * SECOND or start % (10 * SECOND):
                sys.exit(f"q12: a window from {start} to {end}")
            sums[bidder] += n * times
        return collections.Counter(list(sums.items()))
    return rows


def main():
    folder, results, *queries = sys.argv[1:]
    site = Site(folder)
    for query in queries:
        wanted = collections.Counter(getattr(site, query)())
        given = collections.Counter()
        for row, n in written(f"{results}/{query}", query).items():
            if query == "q19" and row not in wanted:
                row = row[7], row[2]
            given[row] += n
        given = collections.Counter({row: n for row, n in given.items() if n})
        if wanted != given:
            missing, extra = list((wanted - given).items()), list((given - wanted).items())
            sys.exit(f"{query}: {len(missing)} rows are missing, such as {missing[:3]}, and {len(extra)} are wrong, such as {extra[:3]}")
        print(f"{query}: {sum(wanted.values())} rows")


if __name__ == "__main__":
    main()
