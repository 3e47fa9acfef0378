#!/usr/bin/env python3
"""What is sent to the job: `feed.py FOLDER` writes FOLDER/events.key and, for each phase n, FOLDER/n/TOPIC with lines of key, tab,
value. The value NULL stands for none. In each phase the rules are sent first."""
import base64
import datetime
import gzip
import json
import os
import random
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent.parent / "tests"
# When the phases after the first one begin.
CUTS = [datetime.datetime(2015, 5, day, 12, 30) for day in (18, 19, 20)]
# The time that moves event time on behind the last event, three hours later.
END = datetime.datetime(2015, 5, 21)
TIME = re.compile(r"\[(\S+) ")


def rules():
    """The changes of each phase: by id, a rule, None for one that is removed, or text that is no rule at all."""
    return json.loads((HERE / "rules.json").read_text())


def requests():
    """The real access log: times and lines, as they were written."""
    with gzip.open(TESTS / "data" / "access.log.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            time = datetime.datetime.strptime(TIME.search(line).group(1), "%d/%b/%Y:%H:%M:%S")
            yield time, line.rstrip("\n")


def logins():
    """Logins of visitors of the log: time, account, address, whether it succeeded; made, since the log has none."""
    draw = random.Random(11)
    visits = sorted({(line.split()[0], time) for time, line in requests()})
    tries = []
    for address, time in draw.sample(visits, 600):
        account = draw.choice(["anna", "ben", "cleo", "dina", "emil"])
        time -= datetime.timedelta(seconds=60)
        for ok in [False] * draw.choice([0, 0, 0, 1, 1, 2, 5, 9]) + [True] * draw.choice([0, 1, 1, 1]):
            time += datetime.timedelta(seconds=draw.randint(1, 45))
            tries.append((time, account, address, ok))
    return sorted(tries, key=lambda t: t[0])


def transactions():
    """The real transactions of a Bitcoin block, with times spread over those of the log."""
    lines = (TESTS / "flink-sql" / "data" / "bitcoin.jsonl").read_text().splitlines()
    first = datetime.datetime(2015, 5, 17, 10, 5)
    step = (datetime.datetime(2015, 5, 20, 21, 6) - first) / len(lines)
    for n, line in enumerate(lines):
        yield (first + n * step).replace(microsecond=0), json.loads(line)


def phase(time):
    return sum(time >= cut for cut in CUTS)


class Feed:
    def __init__(self, folder):
        # Not at the top: expected.py needs no encryption.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.folder = folder
        key = AESGCM.generate_key(256)
        (folder / "events.key").write_bytes(key)
        self.cipher, self.other = AESGCM(key), AESGCM(AESGCM.generate_key(256))
        self.lines = {}

    def send(self, n, topic, key, value):
        self.lines.setdefault((n, topic), []).append(f"{key}\t{value}\n")

    def login(self, n, time, account, address, ok, cipher=None):
        nonce = os.urandom(12)
        token = base64.b64encode(nonce + (cipher or self.cipher).encrypt(nonce, address.encode(), None)).decode()
        self.send(n, "logins", address, json.dumps({"tried": str(time), "account": account, "address": token, "ok": ok}))

    def transaction(self, n, time, transaction):
        self.send(n, "transactions", transaction["txid"], json.dumps({"seen": str(time), **transaction}))

    def write(self):
        for (n, topic), lines in self.lines.items():
            (self.folder / str(n)).mkdir(exist_ok=True)
            (self.folder / str(n) / topic).write_text("".join(lines))


def main(folder):
    feed = Feed(folder)
    for n, changes in enumerate(rules()):
        for name, rule in changes.items():
            feed.send(n, "rules", name, "NULL" if rule is None else rule if isinstance(rule, str) else json.dumps(rule))
    for time, line in requests():
        feed.send(phase(time), "access_log", line.split()[0], line)
    for time, account, address, ok in logins():
        feed.login(phase(time), time, account, address, ok)
    for time, transaction in transactions():
        feed.transaction(phase(time), time, transaction)
    last = len(CUTS)
    for n in range(3):
        feed.login(last, END, f"stranger-{n}", "1.2.3.4", True, feed.other)
    # Of all partitions.
    for n in range(64):
        key = f"check-{n}"
        feed.send(last, "access_log", key, f'{key} - - [{END:%d/%b/%Y:%H:%M:%S} +0000] "GET /health HTTP/1.1" 200 2 "-" "check"')
        feed.login(last, END, "check", key, True)
        feed.transaction(last, END, {"txid": key, "is_coinbase": True, "output_value_sat": 0, "outputs": []})
    feed.write()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
