#!/usr/bin/env python3
"""Runs cases on a real Flink and writes the rows that it gives into expected/: ask.py [--show] AREA/NAME...

It needs Java 17 and PyFlink, best in an environment of its own: `python3 -m venv flink && flink/bin/pip install
apache-flink==2.3.0`, then `flink/bin/python tests/flink-sql/ask.py functions/url`. `--show` prints what Flink prints
and writes nothing. What a case of refused/ is answered with goes into its .error file.
"""
import argparse
import collections
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CHANGE = re.compile(r"^(?:\S{1,80}> )?(\+I|\+U|-U|-D)(\[.*\])\s*$")
PARTS = re.compile(r"'(?:[^']|'')*'|`[^`]*`|--[^\n]*|/\*.*?\*/|;|[^'`;/-]+|.", re.S)
SET = re.compile(r"\s*SET\s+'(.*)'\s*=\s*'(.*)'\s*", re.I)


def get(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def statements(script):
    """The statements of a script, without comments."""
    out = [""]
    for part in PARTS.findall(script):
        if part == ";":
            out.append("")
        elif not part.startswith(("--", "/*")):
            out[-1] += part
    return [s.strip() for s in out if s.strip()]


def run(path):
    """Runs a script in this process; a print sink writes to its standard output."""
    from pyflink.table import EnvironmentSettings, TableEnvironment
    all_of_it = statements(get(path).replace("${DATA}", os.path.join(HERE, "data")))
    settings = dict(m.groups() for m in map(SET.fullmatch, all_of_it) if m)
    batch = settings.pop("execution.runtime-mode", "streaming") == "batch"
    t = TableEnvironment.create(EnvironmentSettings.in_batch_mode() if batch else EnvironmentSettings.in_streaming_mode())
    for key, value in {"parallelism.default": "1", "table.local-time-zone": "UTC", **settings}.items():
        t.get_config().set(key, value)
    for statement in all_of_it:
        if not SET.fullmatch(statement):
            t.execute_sql(statement).wait()


def final(text):
    """The rows that are left of a changelog, sorted."""
    rows = collections.Counter()
    for m in filter(None, map(CHANGE.match, text.split("\n"))):
        rows[m.group(2)] += 1 if m.group(1) in ("+I", "+U") else -1
    return sorted(rows.elements())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cases", nargs="+", metavar="AREA/NAME")
    p.add_argument("--show", action="store_true", help="print what Flink prints, and write nothing")
    p.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.here:
        return run(a.cases[0])
    for case in a.cases:
        path = os.path.join(HERE, "cases", case + ".sql")
        ran = subprocess.run([sys.executable, __file__, "--here", path], capture_output=True, text=True)
        said = [line for line in ran.stderr.split("\n") if re.search(r"Exception: |Error: ", line)]
        refused = case.startswith("refused/")
        if a.show:
            print(ran.stdout + (ran.stderr if ran.returncode else ""), end="")
        elif (ran.returncode != 0) != refused:
            sys.exit("%s: exit code %d\n%s" % (case, ran.returncode, "\n".join(said[-3:]) or ran.stderr[-2000:]))
        else:
            kind, lines = ("error", said[-1:]) if refused else ("rows", final(ran.stdout))
            file = os.path.join(HERE, "expected", case + "." + kind)
            before = get(file).split("\n")[:-1] if os.path.exists(file) else None
            if not refused and before is not None and sorted(before) == lines:
                print("%s: %d rows, as before" % (case, len(lines)))
                continue
            with open(file, "w", encoding="utf-8") as f:
                f.writelines(line + "\n" for line in lines)
            print("%s: %d lines" % (case, len(lines)))


if __name__ == "__main__":
    main()
