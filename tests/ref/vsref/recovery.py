# SPDX-License-Identifier: Apache-2.0
"""Config and key slots as text. spec/store.md, "Recovery copy"."""

import re
from struct import pack

from .config import SIZE as CONFIG_SIZE
from .errors import need
from .keys import SLOT_SIZE
from .xxh3 import xxh3_64

SLOTS_MAX = 256
LINE = re.compile(r"(0|[1-9][0-9]{0,3})\.([1-9][0-9]?):([0-9a-fA-F \t]*)\Z")


def check_of(number, line, data):
    return xxh3_64(pack("<HH", number, line) + data) & 0xFFFF


def build(objects):
    """The text of [config, slot, ...]."""
    lines = ["vmsnap recovery 1"]
    for number, data in enumerate(objects):
        for line, at in enumerate(range(0, len(data), 16), 1):
            piece = data[at:at + 16]
            words = [piece[i:i + 4].hex() for i in range(0, len(piece), 4)]
            words.append(f"{check_of(number, line, piece):04x}")
            lines.append(f"{number}.{line}: " + " ".join(words))
    return "\n".join(lines + [f"end {len(objects) - 1}", ""])


def parse(text):
    """[config, slot, ...] of a text that somebody may have typed."""
    rows = []
    for number, row in enumerate(text.split("\n"), 1):
        row = row.removesuffix("\r").strip(" \t")
        if row and not row.startswith("#"):
            rows.append((f"recovery copy: line {number}", row))
    need(rows and rows.pop(0)[1] == "vmsnap recovery 1", "recovery copy",
         "does not start as one")
    objects, number = [], 0
    while rows and not rows[0][1].startswith("end"):
        size = SLOT_SIZE if number else CONFIG_SIZE
        data = b""
        for line in range(1, -(-size // 16) + 1):
            need(rows, "recovery copy", "is cut off")
            place, row = rows.pop(0)
            data += _piece(row, place, number, line, min(
                16, size - len(data)))
        objects.append(data)
        number += 1
    need(2 <= number <= SLOTS_MAX + 1, "recovery copy", "number of slots")
    need(len(rows) == 1 and rows[0][1] == f"end {number - 1}",
         "recovery copy", "does not end as one")
    return objects


def _piece(row, place, number, line, size):
    match = LINE.match(row)
    need(match and (int(match[1]), int(match[2])) == (number, line), place,
         f"is not {number}.{line}")
    digits = re.sub("[ \t]", "", match[3])
    need(len(digits) == 2 * size + 4, place, "number of digits")
    data = bytes.fromhex(digits[:-4])
    need(check_of(number, line, data) == int(digits[-4:], 16), place,
         "does not hold against its check")
    return data
