#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seed corpora of the pack and table targets."""
import os
import struct

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
SALTS = (0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7,
         0x2df1424b, 0x9efc4947, 0x5c6bfb31)
STORED = 116


def write(target, name, data):
    folder = os.path.join(TOP, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(data)


def identity(n, count):
    """Ascending and spread out, as hashes are."""
    head = (n * (2**64 // count) + 12345).to_bytes(8, "big")
    tail = (n * 0x9e3779b97f4a7c15 + 1) % 2**64
    return head + tail.to_bytes(8, "little") * 3


def entry(ident, n, pack=0):
    return ident + struct.pack("<IIII", pack, 80 + STORED * n, STORED,
                               STORED - 16)


def filter_of(idents, blocks):
    words = [[0] * 8 for _ in range(blocks)]
    for ident in idents:
        h = int.from_bytes(ident[8:16], "little")
        k = int.from_bytes(ident[16:20], "little")
        for n, salt in enumerate(SALTS):
            words[h * blocks >> 64][n] |= 1 << (k * salt % 2**32 >> 27)
    return b"".join(struct.pack("<8I", *block) for block in words)


def table(count, replaces=0):
    idents = [identity(n, count) for n in range(count)]
    blocks = -(-count // 85)
    filter_blocks = -(-count * 10 // 256)
    size = 80 + count * STORED + count * 48 + 16 + 48
    return b"".join([
        struct.pack("<HBBH", count, 1, replaces, filter_blocks),
        *(entry(ident, n) for n, ident in enumerate(idents)),
        *(idents[85 * 16 * n][:8][::-1] for n in range(-(-blocks // 16))),
        b"p" * 32 + struct.pack("<QII", size, count, 0),
        b"r" * 32 * replaces,
        filter_of(idents, filter_blocks),
    ])


def main():
    body = 3 * STORED
    write("pack_directory", "three", struct.pack("<II", 3, body) + b"".join(
        entry(identity(n, 3), n) for n in range(3)))
    write("pack_directory", "overlap", struct.pack("<II", 2, body) +
          entry(b"a" * 32, 1) + entry(b"b" * 32, 1))
    write("pack_directory", "wrong-count", struct.pack("<II", 9, body) +
          entry(b"a" * 32, 0))
    content = b"content" * 20
    for codec in (0, 1, 2):
        write("pack_chunk", f"codec{codec}", b"i" * 32 + struct.pack(
            "<IIII", 0, 80, codec << 24, len(content)) + content)
    frame = bytes.fromhex("28b52ffd2064") + b"\x4d\x00\x00\x10\x61\x61\x01" \
        b"\x00\x5f\x2a\x34"  # zstd: 100 times "a"
    write("pack_chunk", "zstd", b"i" * 32 + struct.pack(
        "<IIII", 0, 80, 1 << 24, 100) + frame)
    write("table", "one", table(1))
    write("table", "two-blocks", table(86, 1))
    write("table", "two-fences", table(1361))
    write("table", "empty", b"")
    write("table", "replaces-itself", table(1, 1).replace(
        b"r" * 32, b"a table for fuzzers to chew on.."))
    write("table_footer", "right", b"")
    for name, at, value in (("entries", 0, 1), ("entries-high", 7, 0x80),
                            ("blocks", 8, 2), ("offset", 16, 1),
                            ("fences", 24, 1), ("packs", 40, 2),
                            ("replaces", 56, 1), ("filter", 79, 1),
                            ("reserved", 127, 1)):
        write("table_footer", name, bytes(at) + bytes([value]))
    write("table_footer", "gap", bytes(128) + b"gap")


if __name__ == "__main__":
    main()
