"""Runs a command: `measure.py NAME FILE COMMAND…` tells its time, and the processor time and the memory of all processes below it."""
import os
import subprocess
import sys
import time

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def processes():
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat", encoding="utf-8") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        yield int(p), int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK, int(fields[21]) * PAGE


def measured(command, output, **more):
    """Runs a command with its output in a file; gives the exit code, seconds, seconds of processor time, and peak memory in MiB, looked
    at five times a second."""
    start = time.monotonic()
    with open(output, "w", encoding="utf-8") as said:
        child = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **more)
    ours, busy, peak = {child.pid}, {}, 0
    while child.poll() is None:
        alive = list(processes())
        for _ in range(4):
            ours |= {p for p, parent, *_ in alive if parent in ours}
        busy |= {p: cpu for p, _, cpu, _ in alive if p in ours}
        peak = max(peak, sum(rss for p, _, _, rss in alive if p in ours))
        time.sleep(0.2)
    return child.returncode, time.monotonic() - start, sum(busy.values()), peak >> 20


if __name__ == "__main__":
    code, seconds, processor, memory = measured(sys.argv[3:], sys.argv[2])
    print(f"{sys.argv[1]}: {seconds:.1f} s, processor {processor:.1f} s, memory {memory} MB")
    sys.exit(code)
