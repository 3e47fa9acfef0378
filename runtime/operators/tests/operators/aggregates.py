#!/usr/bin/env python3
"""Makes changes of rows, and what aggregates over them come to, by lists and sums of Python's: aggregates.py SEED COUNT.

Each case: its calls (function, columns, distinct, filtered), whether it has a key, its changes in order (kind, then the columns), and
the rows of the result after some of them. A group is a list of what came; a row that goes from a group that is not there is passed
over, and with its last row a group forgets everything, as in Flink."""
import collections, decimal, itertools, json, random, sys

decimal.getcontext().prec = 200
D = decimal.Decimal
# The columns that tests/aggregates.rs knows: k the key, w the filter.
COLUMNS = ["k", "i", "n", "m", "d", "x", "s", "w", "t"]
K, I, N, M, DD, X, S, W, T = range(9)
NUMBERS = [I, N, M, DD, X]
SUMS = [("COUNT_STAR", ())]
SUMS += [(f, (c,)) for f in ("SUM", "AVG") for c in NUMBERS]
SUMS += [(f, (X,)) for f in ("STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP")]
SUMS += [("COUNT", (c,)) for c in (I, N, S)]
EXTREMES = [(f, (c,)) for f in ("MIN", "MAX") for c in (I, M, X, S)]
LISTS = [(f, (c,)) for f in ("FIRST_VALUE", "LAST_VALUE", "ARRAY_AGG", "COLLECT") for c in (N, S)]
LISTS += [("LISTAGG", (S,)), ("JSON_ARRAYAGG", (S,)), ("JSON_OBJECTAGG", (S, T)), ("PERCENTILE", (X,)), ("PERCENTILES", (X, T))]
PLAIN = {"COUNT_STAR", "MIN", "MAX", "PERCENTILES", "JSON_OBJECTAGG", "JSON_ARRAYAGG"}  # that DISTINCT is not written with

def wrap(v, bits):
    return (v + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

def divide(a, b):
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q

class Call:
    """One aggregate of one group."""
    def __init__(self, function, args, distinct, filtered):
        self.function, self.args, self.distinct, self.filtered = function, args, distinct, filtered
        self.come, self.gone = [], []       # all values, in their order
        self.times = collections.Counter()  # with DISTINCT: how often each came
        self.list = []                      # what is there; the first of equal values goes

    def add(self, row, sign):
        if self.filtered and row[W] is not True: return
        value = tuple(row[a] for a in self.args)
        if self.function == "COUNT_STAR": value = (1,)
        if self.distinct:
            self.times[value] += sign
            if (sign, self.times[value]) not in ((1, 1), (-1, 0)): return
        if sign > 0:
            self.come.append(value)
            self.list.append(value)
        else:
            self.gone.append(value)
            if value in self.list: self.list.remove(value)

    def result(self):
        f, known = self.function, lambda values: [v[0] for v in values if v[0] is not None]
        come, gone = known(self.come), known(self.gone)
        n = len(come) - len(gone)
        if f in ("COUNT_STAR", "COUNT"): return n
        if f in ("SUM", "AVG"):
            if n == 0: return None
            total, column = sum(come) - sum(gone), self.args[0]
            if column in (M, DD):
                scale = 0 if column == M else 4
                if abs(total) >= D(10) ** (38 - scale): return None
                if f == "SUM": return str(total.quantize(D(1).scaleb(-scale)))
                v = (total / n).quantize(D("0.000001"), decimal.ROUND_HALF_UP)
                return None if abs(v) >= D(10) ** 32 else str(v)
            if column == X: return float(total) if f == "SUM" else total / n
            bits = 64 if column == I else 32
            total = wrap(total, 64)
            return wrap(total if f == "SUM" else divide(total, n), bits)
        if f.startswith(("STDDEV", "VAR")):
            d = n - 1 if f.endswith("SAMP") else n
            if n <= 0 or d <= 0: return None
            s, q = sum(come) - sum(gone), sum(v * v for v in come) - sum(v * v for v in gone)
            v = max(0.0, (q - s * s / n) / d)
            return v ** 0.5 if f.startswith("STDDEV") else v
        counts = collections.Counter(come)
        counts.subtract(gone)
        counts = {v: c for v, c in counts.items() if c > 0}
        text = lambda v: str(v) if isinstance(v, D) else v
        if f in ("MIN", "MAX"): return text((min if f == "MIN" else max)(counts, default=None))
        if f == "COLLECT": return sorted([v, c] for v, c in counts.items())
        if f in ("PERCENTILE", "PERCENTILES"):
            weights = collections.Counter()
            for values, sign in ((self.come, 1), (self.gone, -1)):
                for v in values:
                    if v[0] is not None: weights[v[0]] += sign * (v[1] if f == "PERCENTILES" else 1)
            values = sorted(itertools.chain.from_iterable([v] * c for v, c in weights.items()))
            def at(fraction):
                place = fraction * (len(values) - 1)
                low = int(place // 1)
                high = min(low + 1, len(values) - 1)
                return values[low] + (values[high] - values[low]) * (place - low)
            if not values: return None
            return at(0.3) if f == "PERCENTILE" else [at(0.0), at(0.5), at(0.9)]
        there = known(self.list)
        if f == "FIRST_VALUE": return there[0] if there else None
        if f == "LAST_VALUE": return there[-1] if there else None
        if f == "LISTAGG": return ";".join(there) if there else None
        if f == "ARRAY_AGG": return [v[0] for v in self.list] or None
        if f == "JSON_ARRAYAGG": return there
        if f == "JSON_OBJECTAGG": return dict(sorted({k: v for k, v in self.list if k is not None}.items()))
        raise ValueError(f)

class Model:
    def __init__(self, calls, keyed):
        self.calls, self.keyed, self.groups = calls, keyed, {}

    def change(self, sign, row):
        key = row[K] if self.keyed else None
        if key not in self.groups:
            if sign < 0: return
            self.groups[key] = [0, [Call(*c) for c in self.calls]]
        group = self.groups[key]
        group[0] += sign
        for c in group[1]: c.add(row, sign)
        if group[0] == 0: del self.groups[key]

    def rows(self):
        return [([k] if self.keyed else []) + [c.result() for c in g[1]] for k, g in self.groups.items()]

def make_row(r):
    null = lambda v: None if r.random() < 0.15 else v
    big = 10 ** 38 - 1
    return [null(r.randrange(3)), null(r.choice([r.randrange(-5, 6), 2 ** 62, -2 ** 62])), null(r.choice([r.randrange(-5, 6), 2 ** 31 - 1])),
            null(D(r.choice([r.randrange(-9, 10), big, big, -big]))), null(D(r.randrange(-10 ** 6, 10 ** 6)).scaleb(-4)),
            null(r.randrange(-20, 21) / 4), null(r.choice(["a", "b", "ab", "", "\0"])), null(r.random() < 0.6), r.randrange(3)]

def make_case(r, kind):
    combos = lambda calls: [(f, a, d, w) for f, a in calls for d in ((False,) if f in PLAIN else (False, True)) for w in (False, True)]
    plain = lambda calls: [(f, a, False, w) for f, a in calls for w in (False, True)]
    calls = {"sums": plain(SUMS), "extremes": plain(SUMS + EXTREMES)}.get(kind) or combos(SUMS + EXTREMES + LISTS)
    calls = r.sample(calls, min(len(calls), r.choice([1, 3, 12, 40])))
    changing = kind in ("sums", "changes", "middle")
    changes, there = [], []
    for _ in range(r.choice([3, 20, 80])):
        if kind == "middle" and r.random() < 0.2:
            row = make_row(r)
            changes.append((r.choice("-+") + "UD"[0], row) if r.random() < 0.3 else ("-D", row))
            if changes[-1][0] == "+U": there.append(row)
        elif changing and there and r.random() < r.choice([0.3, 0.5]):
            old = there.pop(r.randrange(len(there)))
            if r.random() < 0.5:
                changes.append(("-D", old))
            else:
                # Often in the same group, and often the value that it had.
                new = [o if r.random() < 0.7 else n for o, n in zip(old, make_row(r))]
                there.append(new)
                changes += [("-U", old), ("+U", new)]
        else:
            row = make_row(r) if not there or r.random() < 0.7 else list(r.choice(there))
            there.append(row)
            changes.append(("+I", row))
    if kind != "middle" and changing and r.random() < 0.3:
        changes += [("-D", row) for row in there]
    model, expected = Model(calls, r.random() < 0.8), []
    at = sorted({r.randrange(len(changes) + 1), r.randrange(len(changes) + 1), len(changes)})
    for n in range(len(changes) + 1):
        if n in at: expected.append([n, model.rows()])
        if n < len(changes): model.change(1 if changes[n][0][0] == "+" else -1, changes[n][1])
    plain_value = lambda v: str(v) if isinstance(v, D) else v
    return {"kind": kind, "keyed": model.keyed, "calls": calls, "changes": [[k] + [plain_value(v) for v in row] for k, row in changes],
            "expected": expected}

if __name__ == "__main__":
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    kinds = ["sums", "extremes", "append", "changes", "changes", "middle"]
    for n in range(seed, seed + count):
        print(json.dumps(make_case(random.Random(str(n)), kinds[n % len(kinds)])))
