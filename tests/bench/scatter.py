#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a huge sparse disk with some data scattered over it.

The data is pseudo-random from a seed, compresses to about half, and no two
64 KiB of it are the same. Extents of 64 KiB to 2 MiB, 4 KiB aligned. Where the
file system's files end just short of the size (ext4: 16 TiB less a block), the
disk is 64 KiB smaller, and that is said.
"""

import argparse
import errno
import os
import random
import sys

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
POOL = 16 * MIB
UNITS = {"K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}


def size_of(text):
    unit = UNITS.get(text[-1].upper())
    return int(text[:-1]) * unit if unit else int(text)


def make_room(fd, size):
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        size -= 64 * KIB
        os.ftruncate(fd, size)
        print(f"scatter: the file system ends files below that; {size} bytes "
              "then", file=sys.stderr)
    return size


def extents(size, data, source):
    """Offsets and lengths, ascending, disjoint, `data` bytes in all."""
    lengths = []
    while data > 0:
        length = min(64 * KIB * source.randrange(1, 33), data)
        lengths.append(length)
        data -= length
    # What is left over as holes is dealt out between them.
    free = (size - sum(lengths)) // (4 * KIB)
    gaps = sorted(source.randrange(free) for _ in lengths)
    before = 0
    for gap, length in zip(gaps, lengths):
        yield gap * 4 * KIB + before, length
        before += (length + 4 * KIB - 1) // (4 * KIB) * 4 * KIB


def write_all(fd, views, offset):
    total = sum(len(view) for view in views)
    if os.pwritev(fd, views, offset) != total:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fill(fd, size, data, seed):
    source = random.Random(seed)
    # Hex digits: four bits of eight say something.
    pool = memoryview(source.randbytes(POOL // 2).hex().encode())
    count = 0
    for offset, length in extents(size, data, source):
        views = []
        for at in range(0, length, 4 * KIB):
            step = min(4 * KIB, length - at)
            start = source.randrange(POOL - 4 * KIB)
            # The count makes each block one of its kind.
            views += [count.to_bytes(8, "big"), pool[start:start + step - 8]]
            count += 1
        for first in range(0, len(views), 512):
            part = views[first:first + 512]
            write_all(fd, part, offset)
            offset += sum(len(view) for view in part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--size", type=size_of, default=16 << 40)
    parser.add_argument("--data", type=size_of, default=20 * GIB)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.data % (4 * KIB) or options.data > options.size // 2:
        parser.error("--data: a multiple of 4K, at most half the size")

    fd = os.open(options.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    size = make_room(fd, options.size)
    fill(fd, size, options.data, options.seed)
    os.fsync(fd)
    os.close(fd)


if __name__ == "__main__":
    main()
