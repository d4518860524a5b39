# SPDX-License-Identifier: Apache-2.0
"""Tables: sorted indexes over packs. spec/store.md, "Table"."""

from dataclasses import dataclass
from struct import unpack, unpack_from

from . import entry, header, pack, trailer
from .errors import need, need_zero
from .keys import TAG, unseal

BLOCK = 4096
PER_BLOCK = 85
PIECE = 65536
FOOTER = 128
FENCE_STEP = 16
REPLACES_MAX = 65536
PACKS_MAX = 1 << 24
ENTRIES_MAX = 1 << 32
SALTS = (0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
         0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31)


def up(a, b):
    return -(-a // b)


def sealed_size(size):
    return size + up(size, PIECE) * TAG


def filter_bits(chunk_id, blocks):
    """(block, [bit of word 0 to 7]) of an id in a filter."""
    h, k = unpack_from("<QI", chunk_id, 8)
    return h * blocks >> 64, [(k * s & 0xFFFFFFFF) >> 27 for s in SALTS]


@dataclass
class PackRef:
    id: bytes
    length: int
    count: int


class Table:
    """One table, read whole, every rule of the page checked."""

    def __init__(self, store, table_id):
        self.id = table_id
        self.name = "tables/" + table_id.hex()
        self.data = store.read(self.name)
        self.key = store.masters.object_key("table", table_id)
        head = header.parse(self.data, "table", store.config.store_id,
                            self.name)
        need(head.salt == table_id, self.name, "salt is not the id")
        self._read_footer()
        self.entries = list(self._read_entries())
        self._check_fences()
        self._check_filter()
        self.data = None

    def _need(self, condition, what):
        need(condition, self.name, what)

    def _read_footer(self):
        t = trailer.parse(self.data, "table", self.name)
        self._need(t.count == 0, "count in the trailer")
        self._need(t.length == FOOTER + TAG, "length of the footer")
        footer = unseal(self.key, t.offset,
                        self.data[t.offset:-trailer.SIZE],
                        self.data[:header.SIZE] + self.name.encode(),
                        self.name)
        need_zero(footer[80:], self.name)
        (self.count, self.blocks, *sections) = unpack("<10Q", footer[:80])
        counts = sections[1::2]
        self._need(1 <= self.count <= ENTRIES_MAX, "count of entries")
        self._need(self.blocks == up(self.count, PER_BLOCK), "blocks")
        self._need(counts[0] == up(self.blocks, FENCE_STEP), "fences")
        self._need(1 <= counts[1] <= PACKS_MAX, "count of packs")
        self._need(counts[2] <= REPLACES_MAX, "count of replaces")
        self._need(1 <= counts[3] <= len(self.data) // 32, "filter blocks")
        at = BLOCK + self.blocks * BLOCK
        plain = []
        for number, size in enumerate((8, 48, 32, 32)):
            self._need(sections[2 * number] == at, "offset of a section")
            length = counts[number] * size
            self._need(at + sealed_size(length) <= t.offset,
                       "section past the footer")
            plain.append(self._section(at, length))
            at += sealed_size(length)
        self._need(at == t.offset, "gap before the footer")
        need_zero(self.data[header.SIZE:BLOCK], self.name)
        self.fences = unpack(f"<{counts[0]}Q", plain[0])
        self._parse_packs(plain[1])
        self.replaces = [plain[2][i:i + 32]
                         for i in range(0, len(plain[2]), 32)]
        self._need(self.id not in self.replaces, "replaces itself")
        self.filter = unpack(f"<{counts[3] * 8}I", plain[3])

    def _section(self, at, length):
        plain = b""
        while len(plain) < length:
            size = min(PIECE, length - len(plain)) + TAG
            plain += unseal(self.key, at, self.data[at:at + size], b"",
                            self.name)
            at += size
        return plain

    def _parse_packs(self, data):
        self.packs = []
        for at in range(0, len(data), 48):
            pack_id, length, count, zero = unpack_from("<32sQII", data, at)
            self._need(zero == 0, "reserved bytes in the pack list")
            self._need(length <= pack.SIZE_MAX, "length of a pack")
            self._need(1 <= count <= pack.COUNT_MAX, "chunks of a pack")
            self.packs.append(PackRef(pack_id, length, count))
        self._need(len({p.id for p in self.packs}) == len(self.packs),
                   "a pack is named twice")

    def _read_entries(self):
        left, last = self.count, b""
        for number in range(self.blocks):
            at = BLOCK + number * BLOCK
            plain = unseal(self.key, at, self.data[at:at + BLOCK], b"",
                           self.name)
            here = min(left, PER_BLOCK)
            for i in range(here):
                e = entry.parse(plain, i * entry.SIZE, self.name)
                self._need(e.id > last, "ids do not ascend")
                self._need(e.pack < len(self.packs), "pack number")
                self._need(e.end <= self.packs[e.pack].length,
                           "entry past the end of its pack")
                last = e.id
                yield e
            need_zero(plain[here * entry.SIZE:], self.name)
            left -= here

    def _check_fences(self):
        for k, fence in enumerate(self.fences):
            first = self.entries[FENCE_STEP * k * PER_BLOCK].id
            self._need(fence == int.from_bytes(first[:8], "big"), "fence")

    def _check_filter(self):
        blocks = len(self.filter) // 8
        for e in self.entries:
            block, bits = filter_bits(e.id, blocks)
            for word, bit in enumerate(bits):
                self._need(self.filter[8 * block + word] >> bit & 1,
                           f"filter misses {e.id.hex()[:16]}")
