#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""same.py A B: are two files the same? Like cmp, but holes are not read."""

import errno
import os
import sys

PIECE = 1 << 20


def ranges(fd, size):
    """(start, end) of what is no hole; all where holes can't be told."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as e:
            if e.errno == errno.ENXIO:
                return
            start, at = at, size
        yield start, at


def differ(a, b):
    """Where two files differ, in words, or None."""
    size = os.fstat(a).st_size
    if os.fstat(b).st_size != size:
        return f"{size} bytes and {os.fstat(b).st_size}"
    for fd in (a, b):
        for start, end in ranges(fd, size):
            for at in range(start, end, PIECE):
                length = min(PIECE, end - at)
                if os.pread(a, length, at) != os.pread(b, length, at):
                    return f"within {length} bytes from {at} on"
    return None


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    a, b = (os.open(name, os.O_RDONLY) for name in arguments)
    where = differ(a, b)
    if where:
        print(f"{arguments[0]} and {arguments[1]} differ: {where}")
    return 1 if where else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
