#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seed corpora of the low targets into tests/fuzz/corpus/.

Checksums are left zero: the targets make them right themselves.
"""
import os
import struct
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
STORE = bytes(range(16))


def write(target, name, data):
    folder = os.path.join(TOP, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(data)


def config(level=3, flags=0):
    body = struct.pack("<8sIIII16sIiIIQQ", b"VSCONFIG", 1, 0, 0, flags, STORE,
                       16, level, 1, 1, 32 << 20, 10**18)
    return body.ljust(128, b"\0")


def slot(kind, number=0, label=b"key"):
    log2_n, r, p = (10, 1, 1) if kind else (0, 0, 0)
    salt = b"s" * 32 if kind else b""
    body = struct.pack("<8sIIII16s16sQIIII32s64s", b"VSKEYSLT", 1, 0, kind, 0,
                       bytes([number]) * 16, STORE, 10**18, log2_n, r, p, 0,
                       salt, label)
    masters = bytes(range(96)) + bytes(32)
    tag = b"t" * 16 if kind else bytes(16)
    return body + masters + tag + bytes(8)


def header(magic):
    return struct.pack("<8sIIII16s", magic, 1, 0, 0, 0, STORE) + b"x" * 32 + \
        bytes(8)


def trailer(magic, count, offset, length):
    total = offset + length + 48
    return struct.pack("<Q8sIIQQQQ", total, magic, 0, count, offset, length,
                       total, 0)


def record(kind, payload, required=1):
    return struct.pack("<HHI", kind, required, len(payload)) + payload


def entry(stored, codec, content, kind):
    return struct.pack("<Q", 1 << 20) + b"i" * 32 + struct.pack(
        "<IIII", 0, 80, stored | codec << 24, content | kind << 24)


def coded(size, codec, data):
    return struct.pack("<I", size | codec << 24) + data


def raw_frame(data):
    head = bytes.fromhex("28b52ffd") + bytes([0x20, len(data)])
    return head + struct.pack("<I", len(data) << 3 | 1)[:3] + data


def image_head(flags=0, base=b""):
    body = struct.pack("<8sIIIIQ16sQQQ", b"VSIMAGE", 1, 0, 0, flags, 2,
                       b"i" * 16, 1 << 30, 1, 2)
    return (body + base).ljust(4096, b"\0")


def image_base():
    return struct.pack("<16s32sIIQ32s16s136s1024s", b"s" * 16, b"r" * 32, 16, 0,
                       1 << 29, b"n" * 32, b"p" * 16, b"vda", b"/store")


def image_record(sequence, *items, checks=()):
    body = struct.pack("<4sHHQ16s", b"VSJR", len(items), len(checks), sequence,
                       b"l" * 16)
    body += b"".join(struct.pack("<QQ", *pair) for pair in (*items, *checks))
    return b"l" * 16 + struct.pack("<Q", sequence) + body.ljust(512, b"\0")


def image_layer(clusters, *pieces):
    return bytes(24) + bytes([clusters]) + b"".join(pieces)


def image_items(*items, checks=b""):
    return bytes([1, len(items) + 9 * len(checks)]) + b"".join(
        struct.pack("<QQ", *item) for item in items) + checks


def image_sector(number, *entries):
    return bytes([0, number, len(entries)]) + b"".join(
        struct.pack("<BQ", *entry) for entry in entries)


def main():
    write("config", "default", config())
    write("config", "plaintext", config(-7, 1))
    write("slot", "clear", slot(0))
    write("slot", "scrypt", slot(1))
    write("recovery", "one", config() + slot(1))
    write("recovery", "two", config(1, 1) + slot(0, 1) + slot(1, 2))
    write("recovery", "text", b"# by hand\nvmsnap recovery 1\n"
          b"0.1: 56534346 00000000 00000000 00000000 0000\nend 1\n")
    volume = record(1, b"vda") + record(2, struct.pack("<Q", 1 << 30)) + \
        record(3, struct.pack("<I", 16)) + record(4, b"r" * 32)
    write("record", "snapshot", record(1, b"web") + record(3, bytes(8)) +
          record(7, volume) + record(11, b"vmsnap", 0))
    write("record", "empty", record(5, b""))
    for magic in b"VSPACK", b"VSTABLE", b"VSSNAP", b"VSPIN", b"VSCONDEM":
        write("header", magic.decode().lower(), header(magic))
    write("trailer", "pack", trailer(b"VSPACKTR", 1, 200, 64))
    write("trailer", "table", trailer(b"VSTABLTR", 0, 8192, 144))
    write("sealed_object", "pin", header(b"VSPIN") + record(1, b"image"))
    write("codec_decode", "raw", coded(5, 0, b"hello"))
    write("codec_decode", "zstd", coded(5, 1, raw_frame(b"hello")))
    write("codec_decode", "rle", coded(
        100, 1, bytes.fromhex("28b52ffd2064") +
        struct.pack("<I", 100 << 3 | 3)[:3] + b"z"))
    write("codec_decode", "skippable", coded(
        5, 1, bytes.fromhex("502a4d1800000000") + raw_frame(b"hello")))
    write("image_head", "blank", image_head())
    write("image_head", "base", image_head(1, image_base()))
    whole, two = 0xffff << 48 | 1, 9 << 48 | 2
    write("image_journal", "two", image_record(7, (0, whole), (900, two)))
    write("image_journal", "empty", image_record(8))
    write("image_journal", "checks", image_record(
        9, (0, whole), checks=((16, 1), (31, 2))))
    write("image_layer", "empty", image_layer(0))
    write("image_layer", "journal", image_layer(
        3, image_items((0, whole), (70, two), (0, 0xffff << 48))))
    write("image_layer", "map", image_layer(
        3, image_sector(0, (0, 0xffff << 48), (5, 0)), image_items((1, whole)),
        image_sector(1, (1, 1 << 48))))
    write("image_layer", "checks", image_layer(
        3, image_items((0, 3 << 48 | 1), checks=b"\x10\x11"),
        image_items((1, 1 << 48 | 2), checks=b"\x20")))
    write("image_layer", "refused", image_layer(
        3, image_items((0, 1 << 48 | 1), checks=b"\x10"), image_items(),
        image_items((1, 2 << 48 | 2), checks=b"\x22\x23")))
    write("image_layer", "past", image_layer(
        1, image_items((1 << 30, whole), (3, 1 << 48 | 77))))
    lines = (b'{"type":"image-control","version":1,"image":"' + b"0a" * 16 +
             b'","store":null,"process":7}\n', b'{"do":"seal"}\n',
             b'{"ok":true,"layer":3}\n')
    write("control", "seal", b"\xff" + b"".join(lines))
    write("control", "pieces", b"\x00" + b"".join(lines))
    write("control", "info", b'\x03{"ok":true,"size_bytes":512,"first_layer":1,'
          b'"top_layer":2,"data_bytes":4096,"file_bytes":8192,'
          b'"damaged":true}\n')
    write("control", "no", b'\x09{"ok":false,"error":"busy",'
          b'"text":"it\\u0007 is"}\n[1]\n{"do":"swap","do":"seal"}\n')
    write("entry", "raw", entry(116, 0, 100, 0))
    write("entry", "zstd", entry(60, 1, 100, 1))
    for name, spec in (("name", "web"), ("latest", "web@latest"),
                       ("label", "web@deadbeef"), ("back", "web@-2"),
                       ("hex_name", "deadbeef00"), ("id", "0123456789ab"),
                       ("far", "db.main-1@-99999999999999999999")):
        write("name_spec", name, spec.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
