# SPDX-License-Identifier: Apache-2.0
"""The last 48 bytes of packs and tables. spec/store.md, "Trailer"."""

from dataclasses import dataclass
from struct import pack, unpack, unpack_from

from .errors import TooNew, need
from .header import check_sum, with_sum

SIZE = 48
MAGIC = {"pack": b"VSPACKTR", "table": b"VSTABLTR"}


@dataclass
class Trailer:
    count: int
    offset: int
    length: int


def build(word, count, offset, length, gap, hook):
    """gap: bytes that lie before the trailer; legal is none."""
    total = offset + length + len(gap) + SIZE
    return gap + with_sum(hook(word + ".trailer", MAGIC[word] + pack(
        "<IIQQQ", 0, count, offset, length, total)))


def parse(data, word, place):
    """The trailer of the whole object `data`."""
    need(len(data) >= 80 + SIZE, place, "too short")
    t = data[-SIZE:]
    need(t[:8] == MAGIC[word], place, "wrong magic of the trailer")
    incompat = unpack_from("<I", t, 8)[0]
    if incompat:
        raise TooNew(f"{place}: incompat bits {incompat:#x} in the trailer")
    check_sum(t, 40, place + ": trailer")
    count, offset, length, total = unpack("<IQQQ", t[12:40])
    need(total == len(data), place, "length differs from the trailer's")
    need(offset >= 80 and offset + length + SIZE == total, place,
         "offset or length in the trailer")
    return Trailer(count, offset, length)
