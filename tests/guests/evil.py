"""Functions that misbehave on 13, and give their argument back on anything else."""
import os
import sys
import time

from weir_udf import udf


@udf
def py_loops(n: int) -> int:
    while n == 13:
        pass
    return n


@udf
def py_eats(n: int) -> int:
    kept = []
    while n == 13:
        kept.append(bytes(1 << 20))
    return n


@udf
def py_raises(n: int) -> int:
    if n == 13:
        raise ValueError("not this one")
    return n


@udf
def py_exits(n: int) -> int:
    if n == 13:
        sys.exit(7)
    return n


@udf
def py_sleeps(n: int) -> int:
    if n == 13:
        time.sleep(3600)
    return n


@udf
def py_reads(n: int) -> int:
    if n == 13:
        with open("/etc/passwd") as f:
            return len(f.read())
    return n


@udf
def py_spies(n: int) -> int:
    return n if n != 13 else len(os.environ) - 1
