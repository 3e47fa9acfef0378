"""The province, or the country outside China, that an IPv4 address belongs to, by a table that is part of the component.

`regions.csv.gz` lies next to this file: `first,last,region` for each range, in order and without gaps. It is read when
the component is built; what is kept are four flat arrays of about 1 MB, so an instance starts no slower for it.
"""
import gzip
import os
from array import array
from bisect import bisect_left, bisect_right
from socket import inet_aton
from struct import Struct
from typing import Optional

from weir_udf import udf


def _load(path):
    starts, numbers, known = array("I"), array("H"), {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            first, _last, name = line.rstrip("\n").split(",")
            starts.append(int(first))
            numbers.append(known.setdefault(name, len(known)))
    return starts, numbers, list(known)


_starts, _region_of_range, _regions = _load(os.path.join(os.path.dirname(__file__), "regions.csv.gz"))

# An address is 2 × 16 bits. The ranges that start in block `high` are numbered _block[high] to _block[high + 1]; within
# it their low halves are in order. Two short look-ups of small numbers beat one search through all the large ones.
_block = array("I", [bisect_left(_starts, high << 16) for high in range(0x10001)])
_low = array("H", [start & 0xFFFF for start in _starts])
del _starts

_halves = Struct(">HH").unpack


@udf
def ip_to_province(address: str) -> Optional[str]:
    high, low = _halves(inet_aton(address))
    end = bisect_right(_low, low, _block[high], _block[high + 1])
    return _regions[_region_of_range[end - 1]]
