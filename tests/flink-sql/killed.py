#!/usr/bin/env python3
"""Runs the cases again and again, killed at durable steps and with another parallelism each time, mostly 4, and compares the sum of
what all runs wrote with one whole run of parallelism 1.

The cases' print sink is replaced by files of changes (debezium-json), which only get rows of durable epochs. Small batches
and slow sources put several epochs into the smallest input.
"""
import argparse
import collections
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import run

SLOW = "source-poll=sleep(2)"
# Where the runs of a case end, one after another; the last one runs to its end.
ENDS = ["epoch-named=abort@2", "part-note=abort@2", "epoch-written=abort@2", "epoch-named=abort@1", "parts-delivered=abort@1"]
# The parallelisms of these runs, and of the last one.
SUBTASKS = [4, 2, 4, 1, 4, 4]
SMALL = ["--set", "table.exec.mini-batch.size=2", "--set", "execution.checkpointing.interval=1ms"]


def weir(a, folder, arguments, failpoints):
    env = dict(os.environ, WEIR_FAILPOINTS=failpoints)
    return subprocess.run([a.weir, "run", "case.sql", *arguments], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=a.timeout)


def rows(folder):
    """The rows that all changes add up to."""
    total = collections.Counter()
    for path in glob.glob(os.path.join(folder, "out", "part-*")):
        with open(path, encoding="utf-8") as f:
            for line in f:
                change = json.loads(line)
                comes = change["op"] == "c"
                row = json.dumps(change["after" if comes else "before"], ensure_ascii=False)
                total[run.normal(row, True)] += 1 if comes else -1
    return {row: n for row, n in total.items() if n}


def one(a, area, name):
    script = run.get(os.path.join(run.HERE, "cases", area, name + ".sql"))
    script = script.replace("${DATA}", os.path.join(run.HERE, "data"))
    script, found = re.subn(r"'connector'\s*=\s*'print'",
                            "'connector' = 'filesystem', 'path' = 'out', 'format' = 'debezium-json'", script)
    if found != 1:
        return None
    if "WATERMARK" in script:
        # With several readers it is the slowest one that decides which rows are late.
        script = re.sub(r"'connector'\s*=\s*'filesystem'(?!, 'path' = 'out')", r"\g<0>, 'scan.parallelism' = '1'", script)

    def arguments(run_number):
        return SMALL + ["--set", "parallelism.default=%d" % SUBTASKS[run_number]]

    results, kills = [], 0
    for kill in (False, True):
        with tempfile.TemporaryDirectory(prefix="killed-") as folder:
            with open(os.path.join(folder, "case.sql"), "w", encoding="utf-8") as f:
                f.write(script)
            if kill:
                for n, end in enumerate(ENDS):
                    ran = weir(a, folder, arguments(n), SLOW + "," + end)
                    kills += ran.returncode < 0
                    if ran.returncode == 0:
                        break
            if not kill or ran.returncode:
                ran = weir(a, folder, arguments(-1) if kill else ["--set", "parallelism.default=1"], "")
            if ran.returncode:
                return "%s/%s: exit code %d: %s" % (area, name, ran.returncode, ran.stderr[-1000:]), kills
            results.append(rows(folder))
    whole, killed = results
    if whole != killed:
        return "%s/%s: a whole run has %s; killed runs %s" % (
            area, name, sorted(whole.items() - killed.items())[:5], sorted(killed.items() - whole.items())[:5]), kills
    return "", kills


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weir", required=True)
    p.add_argument("--case", default="")
    p.add_argument("--timeout", type=float, default=60)
    a = p.parse_args()
    a.weir = os.path.abspath(a.weir)
    left_out = set()
    for listed in ("later.txt", "differs.txt"):
        left_out |= set(run.get(os.path.join(run.HERE, listed)).split("\n"))
    paths = sorted(glob.glob(os.path.join(run.HERE, "cases", "*", "*.sql")))
    cases = [tuple(path[:-4].split(os.sep)[-2:]) for path in paths]
    cases = [c for c in cases if c[0] != "refused" and "/".join(c) not in left_out and a.case in c[1]]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = [r for r in pool.map(lambda c: one(a, *c), cases) if r is not None]
    wrong = [r[0] for r in results if r[0]]
    print("\n".join(wrong))
    print("%d cases, %d kills, %d wrong" % (len(results), sum(r[1] for r in results), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
