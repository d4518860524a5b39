#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seed corpora of manifests, pins, lists and nodes."""
import struct

from make_corpus import record, write


def number(kind, n, width=8, required=1):
    return record(kind, n.to_bytes(width, "little"), required)


def volume(name=b"disk0", size=1 << 20, log2=16, more=b""):
    return (record(1, name) + number(2, size) + number(3, log2, 4) +
            record(4, b"r" * 32) + more)


FULL = volume(more=record(5, b"t" * 32, 0) +
              record(6, struct.pack("<QQQQ", 0, 512, 4096, 4096), 0) +
              record(7, b"/dev/disk", 0))
HEAD = record(1, b"vm") + number(3, 1) + number(4, 10**18)
PIN = record(1, b"image") + number(4, 7)


def main():
    write("volume", "small", volume())
    write("volume", "full", FULL)
    write("volume", "twice", volume() + record(4, b"r" * 32))
    write("volume", "bad-range-wraps",
          volume(more=record(6, b"\xff" * 16, 0)))
    write("volume", "too-large", volume(size=1 << 47))
    write("volume", "empty", b"")
    write("snapshot", "small", HEAD + record(7, volume()))
    write("snapshot", "full",
          HEAD + record(2, b"label", 0) + record(5, b"p" * 32, 0) +
          record(6, b"host", 0) + record(7, FULL) +
          record(7, volume(b"disk1")) + record(8, bytes(range(56)) +
                                               bytes(8), 0) +
          record(11, b"vmsnap", 0))
    write("snapshot", "no-volume", HEAD)
    write("snapshot", "same-names",
          HEAD + 2 * record(7, volume()))
    write("snapshot", "too-new", HEAD + record(7, volume()) +
          record(10, b"", 1))
    write("pin", "small", PIN + record(5, volume()))
    write("pin", "full", PIN + record(2, b"host", 0) +
          record(3, b"/path", 0) + record(5, FULL) +
          record(6, b"s" * 32, 0))
    write("pin", "no-owner", number(4, 7) + record(5, volume()))
    write("condemned", "small",
          number(1, 5) + number(2, 6) + record(3, b"p" * 64))
    write("condemned", "none", number(1, 5) + number(2, 6) + record(3, b""))
    write("condemned", "odd",
          number(1, 5) + number(2, 6) + record(3, b"p" * 33))
    node = struct.pack("<B3xI", 1, 3) + b"a" * 32 + bytes(32) + b"b" * 32
    write("node", "three", b"\x01\xff" + node)
    write("node", "past-the-end", b"\x01\x01" + node)
    write("node", "other-level", b"\x02\xff" + node)
    write("node", "hole-last", b"\x01\xff" +
          struct.pack("<B3xI", 1, 1) + bytes(32))
    write("node", "cut", b"\x01\xff" + node[:50])


if __name__ == "__main__":
    main()
