# SPDX-License-Identifier: Apache-2.0
"""The list of forgeries: each breaks one rule of spec/store.md.

A forgery names the builder's stage that it changes, and how: change(value,
nth) gets what the builder made and how often the stage came before.
"""

import os
from dataclasses import dataclass
from struct import pack

import zstandard

from .keys import KIND_DATA, build_slot
from .pack import name_of

# Stages that are no stage of the builder: change(builder, pack ids) runs
# when all else is written.
PLANTS = ("plant",)


@dataclass
class Forgery:
    name: str
    status: int
    stage: str
    change: object
    says: str = ""  # what the second reader's words contain
    readers: str = "all"


FORGERIES = []


def forge(name, status, stage, change, says="", readers="all"):
    FORGERIES.append(Forgery(name, status, stage, change, says, readers))


def le32(value):
    return pack("<I", value)


def le64(value):
    return pack("<Q", value)


def put(at, data):
    """Bytes at an offset replaced."""
    return lambda v, _: v[:at] + data + v[at + len(data):]


def flip(at):
    def change(v, _nth):
        where = at % len(v)
        return put(where, bytes([v[where] ^ 1]))(v, 0)
    return change


def give(value):
    return lambda _v, _nth: value


# Config and key slots

forge("config-version", 6, "config", put(8, le32(2)), "version 2")
forge("config-incompat", 6, "config", put(12, le32(8)), "incompat")
forge("config-flags", 3, "config", put(20, le32(2)), "flags")
forge("config-chunk-13", 3, "config", put(40, le32(13)), "chunk size")
forge("config-chunk-23", 3, "config", put(40, le32(23)), "chunk size")
forge("config-level-0", 3, "config", put(44, le32(0)), "level")
forge("config-level-20", 3, "config", put(44, le32(20)), "level")
forge("config-pack-size", 3, "config", put(56, le64(1 << 19)), "pack size")
forge("config-reserved", 3, "config", put(80, b"\1"), "reserved")
forge("config-sum", 3, "config.object", flip(88), "checksum")
forge("config-mac", 3, "config.object", flip(100), "MAC")
forge("config-long", 3, "config.object", lambda v, _: v + b"\0", "length")
forge("config-short", 3, "config.object", lambda v, _: v[:127], "length")
forge("slot-version", 6, "slot.head", put(8, le32(2)), "version 2")
forge("slot-incompat", 6, "slot.head", put(12, le32(1)), "incompat")
forge("slot-reserved", 3, "slot.head", put(20, b"\1"), "reserved")
forge("slot-reserved-2", 3, "slot.head", put(76, b"\1"), "reserved")
forge("slot-id", 3, "slot.head", flip(24), "name")
forge("slot-store", 3, "slot.head", flip(40), "another store")
forge("slot-scrypt-n", 3, "slot.head", put(64, le32(21)), "scrypt")
forge("slot-scrypt-n-9", 3, "slot.head", put(64, le32(9)), "scrypt")
forge("slot-scrypt-r", 3, "slot.head", put(68, le32(33)), "scrypt")
forge("slot-scrypt-p", 3, "slot.head", put(72, le32(5)), "scrypt")
forge("slot-scrypt-memory", 3, "slot.head", put(64, le32(20) + le32(3)),
      "scrypt")
forge("slot-scrypt-undefined", 3, "slot.head", put(64, le32(16) + le32(1)),
      "scrypt")
forge("slot-label-nul", 3, "slot.head", put(112, b"a\0b"), "NUL")
forge("slot-label-64", 3, "slot.head", put(112, b"x" * 64), "long")
forge("slot-label-escape", 3, "slot.head", put(112, b"\x1b[2J"), "control")
forge("slot-label-latin1", 3, "slot.head", put(112, b"\xf6"), "UTF-8")
forge("slot-kind", 6, "slot.head", put(16, le32(2)), "kind 2")
forge("slot-reserved-master", 3, "slot.masters", put(96, b"\1"), "reserved")


def plant_slot(builder, _packs):
    slot_id = builder.random(16)
    builder.write("keys/" + slot_id.hex(), build_slot(
        builder.masters, builder.store_id, slot_id, None, 0, bytes(32),
        lambda _stage, value: value))


forge("slot-clear-planted", 3, "plant", plant_slot, "clear slot")

# Headers

for _word in ("pack", "table", "snapshot", "pin", "condemned"):
    _stage = _word + ".header"
    forge(_word + "-version", 6, _stage, put(8, le32(2)), "version 2")
    forge(_word + "-incompat", 6, _stage, put(12, le32(1)), "incompat")
    forge(_word + "-magic", 3, _stage, flip(3), "magic")
    forge(_word + "-reserved", 3, _stage, put(20, b"\1"), "reserved")
    forge(_word + "-store", 3, _stage, flip(24), "another store")
    forge(_word + "-header-sum", 3, _word + ".object", flip(72), "checksum")
forge("pack-salt", 3, "pack.header", flip(40), "salt")
forge("table-salt", 3, "table.header", flip(40), "salt")

# Packs


def entry(at, **fields):
    """One entry of a list changed; a field may be a function of it."""
    def change(entries, _nth):
        e = entries[at]
        new = {k: v(e) if callable(v) else v for k, v in fields.items()}
        entries[at] = e._replace(**new)
        return entries
    return change


def swap(entries, _nth):
    entries[4], entries[5] = entries[5], entries[4]
    return entries


def twice(entries, _nth):
    return entries[:5] + entries[4:]


def packed(entries, codec):
    return next(i for i, e in enumerate(entries) if e.codec == codec)


def of_codec(number, /, **fields):
    """The first entry of a codec changed."""
    return lambda v, nth: entry(packed(v, number), **fields)(v, nth)


forge("directory-order", 3, "pack.entries", swap, "overlap")
forge("directory-twice", 3, "pack.entries", twice, "overlap")
forge("directory-pack-number", 3, "pack.entries", entry(3, pack=1),
      "pack number")
forge("directory-overlap", 3, "pack.entries",
      entry(3, offset=lambda e: e.offset - 1), "overlap")
forge("directory-in-header", 3, "pack.entries", entry(0, offset=79),
      "header")
forge("directory-past-end", 3, "pack.entries",
      entry(-1, offset=lambda e: e.offset + 8), "in the directory")
forge("directory-codec", 3, "pack.entries", of_codec(1, codec=3), "codec")
forge("directory-kind", 3, "pack.entries", entry(3, kind=2), "kind")
forge("directory-lengths", 3, "pack.entries",
      of_codec(0, length=lambda e: e.length - 1), "codec 0")
forge("directory-id", 3, "pack.entries", entry(3, id=bytes(range(32))),
      "differs")
forge("directory-missing", 3, "pack.entries", lambda v, _: v[1:],
      "chunks of")
forge("directory-empty", 3, "pack.entries", give([]), "count")
forge("pack-trailer-magic", 3, "pack.trailer", flip(0), "magic")
forge("pack-trailer-incompat", 6, "pack.trailer", put(8, le32(1)),
      "incompat")
forge("pack-trailer-count", 3, "pack.trailer",
      lambda v, _: v[:12] + le32(int.from_bytes(v[12:16], "little") + 1) +
      v[16:], "directory")
forge("pack-trailer-count-0", 3, "pack.trailer", put(12, le32(0)), "count")
forge("pack-trailer-length", 3, "pack.trailer", put(24, le64(64)), "trailer")
forge("pack-trailer-offset", 3, "pack.trailer",
      put(16, le64((1 << 64) - 1)), "trailer")
forge("pack-trailer-total", 3, "pack.trailer", put(32, le64(1 << 40)),
      "length")
forge("pack-trailer-sum", 3, "pack.object", flip(-1), "checksum")
forge("pack-gap", 3, "pack.gap", give(bytes(8)), "trailer")
forge("pack-more-behind", 3, "pack.object", lambda v, _: v + bytes(48),
      "trailer")
forge("pack-cut", 3, "pack.object", lambda v, _: v[:-4096], "")

# Chunks: what the seal holds is not what the entry says


def frame(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


def plain(coded):
    """The content of a chunk that the builder has coded."""
    return (zstandard.ZstdDecompressor().decompress(coded[1])
            if coded[0] else coded[1])


def recode(change, least=1):
    """The first data chunk of codec `least` coded anew."""
    state = []

    def hook(coded, _nth):
        if state or coded[0] != least:
            return coded
        state.append(True)
        return change(coded)
    return lambda v, nth: (state.clear() if not nth else None,
                           hook(v, nth))[1]


def halves(coded):
    data = plain(coded)
    return 1, frame(data[:9000]) + frame(data[9000:]), len(data)


SKIPPABLE = b"\x50\x2a\x4d\x18" + le32(3) + b"abc"

forge("zstd-two-frames", 3, "coded", recode(halves))
forge("zstd-skippable-before", 3, "coded",
      recode(lambda c: (1, SKIPPABLE + c[1], c[2])))
forge("zstd-skippable-behind", 3, "coded",
      recode(lambda c: (1, c[1] + SKIPPABLE, c[2])), "after the frame")
forge("zstd-bytes-behind", 3, "coded",
      recode(lambda c: (1, c[1] + b"x", c[2])), "after the frame")
forge("zstd-empty-frame-behind", 3, "coded",
      recode(lambda c: (1, c[1] + frame(b""), c[2])), "after the frame")
forge("zstd-no-content-size", 3, "coded", recode(
    lambda c: (1, frame(plain(c), write_content_size=False), c[2])),
    "content size")
forge("zstd-cut", 3, "coded", recode(lambda c: (1, c[1][:-1], c[2])))
forge("zstd-garbage", 3, "coded",
      recode(lambda c: (1, b"no zstd frame at all", c[2])))
forge("zstd-gives-less", 3, "coded",
      recode(lambda c: (1, c[1], c[2] + 1)), "content size")
forge("zstd-gives-more", 3, "coded",
      recode(lambda c: (1, c[1], c[2] - 1)), "content size")
forge("zstd-gives-4g", 3, "coded", recode(
    lambda c: (1, b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + c[1][9:], c[2])))
forge("chunk-other-content", 3, "coded", recode(
    lambda c: (0, b"\x55" * c[2], c[2]), 0), "another id")
forge("chunk-other-content-zstd", 3, "coded", recode(
    lambda c: (1, frame(b"\x55" * c[2]), c[2])), "another id")
forge("chunk-codec-2", 3, "coded", recode(
    lambda c: (2, c[1], c[2])), "codec")
forge("chunk-zstd-not-shorter", 3, "coded", recode(
    lambda c: (1, frame(c[1]), c[2]), 0), "codec 1")

# Tables


def packs_add(data):
    return lambda v, _: v + data


def table_put(at, size, add):
    """A number in the footer or the pack list changed by so much."""
    def change(v, _nth):
        old = int.from_bytes(v[at:at + size], "little")
        return put(at, (old + add).to_bytes(size, "little"))(v, 0)
    return change


forge("table-order", 3, "table.entries", swap, "ascend")
forge("table-twice", 3, "table.entries", twice, "ascend")
forge("entry-pack-number", 3, "table.entries", entry(3, pack=1),
      "pack number")
forge("entry-past-end", 3, "table.entries", entry(3, offset=0xfffffff0),
      "past the end")
forge("entry-in-header", 3, "table.entries", entry(3, offset=79), "header")
forge("entry-lengths-0", 3, "table.entries",
      of_codec(0, length=lambda e: e.length - 1), "codec 0")
forge("entry-lengths-1", 3, "table.entries",
      of_codec(1, sealed=lambda e: e.length + 16), "codec 1")
forge("entry-codec", 3, "table.entries", of_codec(1, codec=2), "codec")
forge("entry-kind", 3, "table.entries", entry(3, kind=2), "kind")
forge("entry-kind-other", 3, "table.entries",
      entry(3, kind=lambda e: 1 - e.kind), "differs")
forge("entry-length-0", 3, "table.entries",
      of_codec(0, length=0, sealed=16), "content length")
forge("entry-length-over", 3, "table.entries",
      of_codec(1, length=(4 << 20) + 1), "content length")
forge("entry-sealed-over", 3, "table.entries",
      of_codec(0, length=4 << 20, sealed=(4 << 20) + 17), "sealed length")
forge("entry-other-place", 3, "table.entries",
      entry(3, offset=lambda e: e.offset + 1), "differs")
forge("table-fill", 3, "table.fill", flip(-1), "reserved")
forge("table-zeros", 3, "table.zeros", flip(2000), "reserved")
forge("table-fence", 3, "table.fences", flip(7), "fence")
forge("table-fence-order", 3, "table.fences", lambda v, _: v[::-1], "fence")
forge("table-fence-more", 3, "table.fences", packs_add(bytes(8)), "fences")
forge("table-pack-reserved", 3, "table.packs", flip(44), "reserved")
forge("table-pack-length", 3, "table.packs", table_put(32, 8, 1), "length")
forge("table-pack-length-over", 3, "table.packs",
      put(32, le64(1 << 62)), "length of a pack")
forge("table-pack-count", 3, "table.packs", table_put(40, 4, 1), "chunks of")
forge("table-pack-count-0", 3, "table.packs", put(40, le32(0)), "chunks of")
forge("table-pack-twice", 3, "table.packs", lambda v, _: v + v, "twice")
forge("table-pack-other", 3, "table.packs", flip(0), "missing")
forge("table-packs-none", 3, "table.packs", give(b""), "count of packs")
# The hook's list starts with the table's own id, which the builder drops.
forge("table-replaces-itself", 3, "table.replaces",
      lambda v, _: v + v[:1], "replaces itself")
forge("table-filter-misses", 3, "table.filter",
      lambda v, _: bytes(len(v)), "filter misses")
forge("table-filter-none", 3, "table.filter", give(b""), "filter")
forge("footer-entries", 3, "table.footer", table_put(0, 8, 1))
forge("footer-entries-0", 3, "table.footer", put(0, bytes(16)), "entries")
forge("footer-entries-over", 3, "table.footer", put(0, b"\xff" * 8),
      "entries")
forge("footer-blocks", 3, "table.footer", table_put(8, 8, 1), "blocks")
forge("footer-fences-offset", 3, "table.footer", table_put(16, 8, 8),
      "offset")
forge("footer-fences-count", 3, "table.footer", table_put(24, 8, 1),
      "fences")
forge("footer-packs-offset", 3, "table.footer", table_put(32, 8, 1),
      "offset")
forge("footer-packs-over", 3, "table.footer", put(40, le64(1 << 60)),
      "packs")
forge("footer-replaces-offset", 3, "table.footer", put(48, le64(0)),
      "offset")
forge("footer-replaces-over", 3, "table.footer", put(56, le64(65537)),
      "replaces")
forge("footer-filter-offset", 3, "table.footer", table_put(64, 8, 1),
      "offset")
forge("footer-filter-over", 3, "table.footer", put(72, le64(1 << 59)),
      "filter")
forge("footer-reserved", 3, "table.footer", flip(127), "reserved")
forge("table-gap", 3, "table.before footer", give(bytes(16)), "gap")
forge("table-gap-behind", 3, "table.gap", give(bytes(16)), "trailer")
forge("table-trailer-magic", 3, "table.trailer", put(0, b"VSPACKTR"),
      "magic")
forge("table-trailer-incompat", 6, "table.trailer", put(8, le32(1)),
      "incompat")
forge("table-trailer-count", 3, "table.trailer", put(12, le32(1)), "count")
forge("table-trailer-offset", 3, "table.trailer", table_put(16, 8, 8),
      "trailer")
forge("table-trailer-length", 3, "table.trailer", table_put(24, 8, 8),
      "trailer")
forge("table-trailer-total", 3, "table.trailer", table_put(32, 8, 8),
      "length")
forge("table-trailer-sum", 3, "table.object", flip(-1), "checksum")
forge("table-cut", 3, "table.object", lambda v, _: v[:4096])

# Snapshots: names and ids

for _name, _text in (("slash", b"../x"), ("escape", b"\x1b[2Jx"),
                     ("empty", b""), ("dot", b".x"), ("space", b"a b"),
                     ("newline", b"vm\n"), ("nul", b"a\0b"),
                     ("latin1", b"h\xf6st"), ("long", b"x" * 129)):
    forge("snapshot-name-" + _name, 3, "snapshot.name", give(_text))
    forge("disk-name-" + _name, 3, "disk", give(_text))
forge("snapshot-name-tag", 3, "snapshot.id", flip(16), "name")
forge("snapshot-sequence", 3, "snapshot.id", flip(31), "sequence")
forge("snapshot-sequence-0", 3, "sequence", give(0), "sequence 0")


def field(kind, payload, flags=0):
    """A record in the place of the one (or all) of its type."""
    def change(fields, _nth):
        return [f for f in fields if f[0] != kind] + [(kind, payload, flags)]
    return change


def without(kind):
    return lambda fields, _: [f for f in fields if f[0] != kind]


def again(kind):
    return lambda fields, _: fields + [f for f in fields if f[0] == kind]


def also(*record):
    return lambda fields, _: fields + [record]


S = "snapshot.fields"
forge("snapshot-unknown-required", 6, S, also(4000, b"x", 1), "unknown")
forge("snapshot-machine-required", 6, S, also(10, b"x", 1), "unknown")
forge("snapshot-flags", 3, S, also(4000, b"x", 2), "flags")
for _kind, _what in ((1, "name"), (3, "sequence"), (4, "time"),
                     (7, "volume")):
    forge("snapshot-without-" + _what, 3, S, without(_kind), "missing")
for _kind, _what in ((1, "name"), (3, "sequence"), (4, "time")):
    forge(f"snapshot-{_what}-twice", 3, S, again(_kind), "twice")
forge("snapshot-label-twice", 3, S,
      lambda v, _: v + [(2, b"one"), (2, b"two")], "twice")
forge("snapshot-volume-twice", 3, S, again(7), "of one name")
forge("snapshot-label-slash", 3, S, field(2, b"a/b"), "name")
forge("snapshot-sequence-width", 3, S, field(3, le32(1)), "width")
forge("snapshot-time-width", 3, S, field(4, bytes(9)), "width")
forge("snapshot-parent-31", 3, S, field(5, bytes(31)), "length")
forge("snapshot-host-257", 3, S, field(6, b"x" * 257), "long")
forge("snapshot-host-nul", 3, S, field(6, b"a\0"), "NUL")
forge("snapshot-host-surrogate", 3, S, field(6, b"\xed\xa0\x80"), "UTF-8")
forge("snapshot-totals-short", 3, S, field(8, bytes(56)), "length")
forge("snapshot-totals-reserved", 3, S,
      field(8, bytes(56) + le64(1)), "reserved")
forge("snapshot-record-cut", 3, "snapshot.plain",
      lambda v, _: v + b"\x0b\0\0\0", "cut off")
forge("snapshot-record-past-end", 3, "snapshot.plain",
      lambda v, _: v + pack("<HHI", 11, 0, 5) + b"four", "past the end")
forge("snapshot-record-4g", 3, "snapshot.plain",
      lambda v, _: v + pack("<HHI", 11, 0, 0xffffffff), "past the end")
forge("snapshot-nothing", 3, "snapshot.plain", give(b""), "missing")
forge("snapshot-65-volumes", 3, S, lambda v, _: v + [
    (7, b"".join(pack("<HHI", k, 0, len(p)) + p for k, p in (
        (1, b"v%d" % i), (2, le64(0)), (3, le32(14)), (4, bytes(32)))))
    for i in range(64)], "too many")
forge("snapshot-cut", 3, "snapshot.object", lambda v, _: v[:90], "short")
forge("pin-unknown-required", 6, "pin.fields", also(4000, b"x", 1),
      "unknown")
forge("pin-without-owner", 3, "pin.fields", without(1), "missing")
forge("pin-without-volume", 3, "pin.fields", without(5), "missing")
forge("condemned-length", 3, "condemned.fields", field(3, bytes(33)),
      "length")
forge("condemned-without-time", 3, "condemned.fields", without(2), "missing")

# Volumes

V = "volume.fields"
forge("volume-unknown-required", 6, V, also(77, b"", 1), "unknown")
forge("volume-without-root", 3, V, without(4), "missing")
forge("volume-without-size", 3, V, without(2), "missing")
forge("volume-size-over", 3, V, field(2, le64((1 << 46) + 1)), "too large")
forge("volume-size-max", 3, V, field(2, b"\xff" * 8), "too large")
forge("volume-size-twice", 3, V, again(2), "twice")
forge("volume-size-less", 3, V, field(2, le64(290 * 16384)), "past the end")
forge("volume-size-less-a-level", 3, V, field(2, le64(256 * 16384)), "level")
forge("volume-size-more", 3, V, field(2, le64(300 * 16384 + 1000)), "length")
forge("volume-size-0", 3, V, field(2, le64(0)), "root")
forge("volume-chunk-13", 3, V, field(3, le32(13)), "chunk size")
forge("volume-chunk-23", 3, V, field(3, le32(23)), "chunk size")
forge("volume-chunk-15", 3, V, field(3, le32(15)), "")
forge("volume-chunk-width", 3, V, field(3, b"\x0e"), "width")
forge("volume-root-31", 3, V, field(4, bytes(31)), "length")
forge("volume-root-unknown", 3, V, field(4, b"\x11" * 32), "no table")
forge("volume-tags-unknown", 3, V, field(5, b"\x11" * 32), "no table")
forge("volume-tags-width", 3, V, field(5, bytes(16)), "length")
forge("volume-source-4097", 3, V, field(7, b"x" * 4097), "long")
forge("volume-bad-empty", 3, V, field(6, b""), "length")
forge("volume-bad-odd", 3, V, field(6, bytes(24)), "length")
forge("volume-bad-order", 3, V, field(6, b"".join(map(
    le64, (8192, 512, 512, 512)))), "ascend")
forge("volume-bad-overlap", 3, V, field(6, b"".join(map(
    le64, (0, 1024, 512, 512)))), "ascend")
forge("volume-bad-none", 3, V, field(6, le64(0) * 2), "ascend")
forge("volume-bad-past-end", 3, V, field(6, le64(300 * 16384) + le64(1000)),
      "past the end")
forge("volume-bad-wraps", 3, V, field(6, le64(512) + b"\xff" * 8),
      "past the end")
forge("volume-record-past-end", 3, "volume.plain",
      lambda v, _: v[:-1], "past the end")

# Nodes: the ids are right, what they name is not. Nodes come in the order:
# two of level 1, the root of level 2, then those of the tags.


def node(nth, change):
    return lambda v, n: change(v) if n == nth else v


def count_of(value):
    return lambda v: v[:4] + le32(value) + v[8:]


forge("node-level", 3, "node", node(0, lambda v: b"\2" + v[1:]), "level")
forge("node-level-0", 3, "node", node(0, lambda v: b"\0" + v[1:]), "level")
forge("node-root-level", 3, "node", node(2, lambda v: b"\3" + v[1:]),
      "level")
forge("node-reserved", 3, "node", node(0, lambda v: v[:3] + b"\1" + v[4:]),
      "reserved")
forge("node-count-0", 3, "node", node(0, lambda v: v[:4] + bytes(4)),
      "children")
forge("node-count-less", 3, "node", node(0, count_of(100)), "length")
forge("node-count-more", 3, "node", node(1, count_of(200)), "length")
forge("node-count-257", 3, "node", node(
    0, lambda v: v[:4] + le32(257) + v[8:] + v[8:40]), "children")
forge("node-count-4g", 3, "node", node(0, count_of(0xffffffff)), "children")
forge("node-trailing-hole", 3, "node", node(
    1, lambda v: v[:-32] + bytes(32)), "cut")
forge("node-past-end", 3, "node", node(
    1, lambda v: v[:4] + le32(46) + v[8:] + v[40:72]), "past the end")
forge("node-root-past-end", 3, "node", node(
    2, lambda v: v[:4] + le32(3) + v[8:] + v[8:40]), "past the end")
forge("node-short", 3, "node", node(0, lambda v: v[:7]), "short")
forge("node-child-unknown", 3, "node", node(
    0, lambda v: v[:8] + b"\x11" * 32 + v[40:]), "no table")
forge("node-child-of-other-length", 3, "node", node(
    1, lambda v: v[:-32] + v[40:72]), "length")
forge("node-child-is-node", 3, "node", node(
    2, lambda v: v[:8] + v[40:72] * 2), "")
forge("tags-node-level", 3, "node", node(3, lambda v: b"\2" + v[1:]),
      "level")
forge("tags-other", 3, "tags", flip(0), "tags differ", "ref")
forge("tags-short", 3, "tags", lambda v, _: v[:-16], "length")

# What is not there, or not as it was


def remove_pack(builder, packs):
    os.unlink(os.path.join(builder.path, name_of(packs[0])))


def remove_tables(builder, _packs):
    folder = os.path.join(builder.path, "tables")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))


def zeros_as_chunk(builder, _packs):
    """A chunk of zeros that a node names instead of leaving a hole."""
    zeros = builder.add(KIND_DATA, bytes(16384))
    root = builder.add(1, le32(1) + le32(1) + zeros)
    builder.table([builder.flush()])
    builder.snapshot("zeros", [b"".join(
        pack("<HHI", k, 0, len(p)) + p for k, p in (
            (1, b"disk0"), (2, le64(16384)), (3, le32(14)), (4, root)))])


def move_object(folder):
    """One object under another name: the name is part of the seal."""
    def change(builder, _packs):
        path = os.path.join(builder.path, folder)
        name = os.listdir(path)[0]
        other = ("0" if name[0] != "0" else "1") + name[1:]
        os.rename(os.path.join(path, name), os.path.join(path, other))
    return change


forge("pack-missing", 3, "plant", remove_pack, "missing")
forge("tables-missing", 3, "plant", remove_tables, "no table")
forge("zeros-as-chunk", 3, "plant", zeros_as_chunk, "no hole", "ref")
forge("table-renamed", 3, "plant", move_object("tables"), "salt")
forge("snapshot-renamed", 3, "plant", move_object("snapshots"), "seal")
forge("pin-renamed", 3, "plant", move_object("pins"), "seal")
forge("slot-renamed", 3, "plant", move_object("keys"), "name")
