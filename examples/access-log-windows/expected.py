#!/usr/bin/env python3
"""Computes from the log itself what the job's tables must hold: `expected.py LOG TABLE` prints a table, tabs between columns."""
import collections
import datetime
import gzip
import re
import sys

LINE = re.compile(r'(\S+) \S+ \S+ \[(\S+) [^\]]*\] ".*?" (\d{3}) (\d+|-)')
GAP = datetime.timedelta(minutes=90)


def requests(log):
    with gzip.open(log, "rt", encoding="utf-8") as lines:
        for line in lines:
            address, time, status, size = LINE.match(line).groups()
            time = datetime.datetime.strptime(time, "%d/%b/%Y:%H:%M:%S")
            yield address, time, int(status), int(size) if size != "-" else None


def sums(sizes):
    """SUM ignores NULL, and of NULLs only it is NULL."""
    known = [s for s in sizes if s is not None]
    return [len(sizes), sum(known) if known else ""]


def requests_by_minute(rows):
    groups = collections.defaultdict(list)
    for _, time, status, size in rows:
        groups[time.replace(second=0), status].append(size)
    return [[*key, *sums(sizes)] for key, sizes in groups.items()]


def busiest_addresses(rows):
    minutes = collections.defaultdict(collections.Counter)
    for address, time, _, _ in rows:
        minutes[time.replace(second=0)][address] += 1
    for minute, counts in minutes.items():
        first = sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:5]
        yield from ([minute, place, *c] for place, c in enumerate(first, 1))


def sessions(rows):
    visitors = collections.defaultdict(list)
    for address, time, _, size in rows:
        visitors[address].append((time, size))
    for address, visits in visitors.items():
        visits.sort(key=lambda v: v[0])
        session = []
        for visit in visits:
            if session and visit[0] - session[-1][0] > GAP:
                yield [address, session[0][0], session[-1][0], *sums([s for _, s in session])]
                session = []
            session.append(visit)
        yield [address, session[0][0], session[-1][0], *sums([s for _, s in session])]


if __name__ == "__main__":
    table = {f.__name__: f for f in (requests_by_minute, busiest_addresses, sessions)}[sys.argv[2]]
    for row in sorted(table(requests(sys.argv[1])), key=lambda r: r[:2]):
        print("\t".join(str(value) for value in row))
