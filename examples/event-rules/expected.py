#!/usr/bin/env python3
"""Computes without Weir what must arrive: `expected.py chat|service|record|refused` prints it, sorted."""
import collections
import datetime
import re
import sys

import feed

LINE = re.compile(r'(\S+) .*?"[A-Z]+ ([^ "]*).*?" (\d{3}) (\d+|-)')
EPOCH = datetime.datetime(2000, 1, 1)
NUMBERS = ("times", "seconds", "max_actions", "per_seconds")


def events():
    """Phase, type, key, time and fields."""
    for time, line in feed.requests():
        address, path, status, size = LINE.match(line).groups()
        if status == "404":
            yield feed.phase(time), "not_found", address, time, {"path": path}
        if status == "200" and size != "-" and int(size) > 1_000_000:
            yield feed.phase(time), "download", address, time, {"path": path, "bytes": size}
    for time, account, address, ok in feed.logins():
        yield feed.phase(time), "login" if ok else "login_failed", address, time, {"account": account}
    for time, t in feed.transactions():
        if not t["is_coinbase"]:
            fields = {"value": str(t["output_value_sat"]), "outputs": str(len(t["outputs"]))}
            yield feed.phase(time), "transaction", t["txid"], time, fields


def is_number(text):
    try:
        float(text)
        return True
    except (TypeError, ValueError):
        return False


def is_sound(rule):
    """Whether a rule can be obeyed."""
    if not isinstance(rule, dict):
        return False
    if any(not isinstance(rule[n], int) or rule[n] < 1 for n in NUMBERS if n in rule):
        return False
    if "field" in rule and (rule["comparison"] not in ("=", "<", ">", "matches")):
        return False
    if rule.get("comparison") in ("<", ">") and not is_number(rule["value"]):
        return False
    return rule["kind"] in ("condition", "threshold") or rule["kind"] == "sequence" and rule["event"] != rule["then_event"]


def rules():
    """The rules of each phase, sound or not."""
    now, all_phases = {}, []
    for changes in feed.rules():
        now = {k: v for k, v in {**now, **changes}.items() if v is not None}
        all_phases.append(now)
    return all_phases


def holds(rule, fields):
    if "field" not in rule:
        return True
    value, wanted = fields.get(rule["field"]), rule["value"]
    if value is None:
        return False
    match rule["comparison"]:
        case "=":
            return value == wanted
        case "<":
            return is_number(value) and float(value) < float(wanted)
        case ">":
            return is_number(value) and float(value) > float(wanted)
        case "matches":
            try:
                return re.search(wanted, value) is not None
            except re.error:
                return False


def alerts():
    """Rule, its id, key, time and the number of events."""
    by_phase = rules()
    steps = collections.defaultdict(list)
    for phase, kind, who, time, fields in events():
        for name, rule in by_phase[phase].items():
            if not is_sound(rule):
                continue
            if rule["event"] == kind and holds(rule, fields):
                steps[rule["kind"], name, who].append((time, 1, rule))
            if rule["kind"] == "sequence" and rule["then_event"] == kind:
                steps[rule["kind"], name, who].append((time, 2, rule))
    for (kind, name, who), rows in steps.items():
        rows.sort(key=lambda r: r[:2])
        for rule, time, count in {"condition": each, "threshold": many, "sequence": one_after_the_other}[kind](rows):
            yield rule, name, who, time, count


def each(rows):
    for time, _, rule in rows:
        yield rule, time, 1


def many(rows):
    recent = collections.deque()
    for time, _, rule in rows:
        recent.append(time)
        while (time - recent[0]).total_seconds() >= rule["seconds"]:
            recent.popleft()
        if len(recent) >= rule["times"]:
            yield rule, time, len(recent)
            recent.clear()


def one_after_the_other(rows):
    start = 0
    while start < len(rows):
        ends = None
        if rows[start][1] == 1:
            for n in range(start + 1, len(rows)):
                time, step, rule = rows[n]
                if (time - rows[start][0]).total_seconds() > rule["seconds"]:
                    break
                if step == 2:
                    ends = n
                    break
        if ends is not None:
            yield rows[ends][2], rows[ends][0], ends - start + 1
            start = ends
        start += 1


def actions():
    taken = collections.Counter()
    for rule, name, who, time, count in sorted(alerts(), key=lambda a: a[3]):
        slot = name, who, (time - EPOCH).total_seconds() // rule["per_seconds"]
        taken[slot] += 1
        if taken[slot] <= rule["max_actions"]:
            yield rule["action"], name, who, time, count


def main(what):
    if what == "refused":
        # Text that is no rule at all is skipped where it is read.
        return [name for name, rule in rules()[-1].items() if isinstance(rule, dict) and not is_sound(rule)]
    rows = [a[1:] for a in actions() if a[0] == what]
    if what == "chat":
        return [f"{name}: {who} at {time}, events: {count}" for name, who, time, count in rows]
    return [f"{name}\t{who}\t{time}\t{count}" for name, who, time, count in rows]


if __name__ == "__main__":
    print("\n".join(sorted(main(sys.argv[1]))))
