# SPDX-License-Identifier: Apache-2.0
"""Packs: chunks, sealed, and their directory. spec/store.md, "Pack"."""

from . import codec, entry, header, trailer
from .errors import Corrupt, need
from .keys import KIND_NODE, TAG, unseal

SIZE_MAX = 1 << 30
COUNT_MAX = 1 << 20


def name_of(pack_id):
    return f"packs/{pack_id.hex()[:2]}/{pack_id.hex()}"


class Pack:
    """One pack, read whole; `entries` only after read_directory()."""

    def __init__(self, store, pack_id):
        self.id = pack_id
        self.name = name_of(pack_id)
        self.data = store.read(self.name)
        self.masters = store.masters
        self.key = store.masters.object_key("pack", pack_id)
        need(len(self.data) <= SIZE_MAX, self.name, "too large")
        head = header.parse(self.data, "pack", store.config.store_id,
                            self.name)
        need(head.salt == pack_id, self.name, "salt is not the id")

    def read_directory(self):
        t = trailer.parse(self.data, "pack", self.name)
        need(1 <= t.count <= COUNT_MAX, self.name, "count of chunks")
        need(t.length == t.count * entry.SIZE + TAG, self.name,
             "length of the directory")
        plain = unseal(self.key, t.offset, self.data[t.offset:-trailer.SIZE],
                       self.data[:header.SIZE] + self.name.encode(),
                       self.name)
        entries, end = [], header.SIZE
        for at in range(0, len(plain), entry.SIZE):
            e = entry.parse(plain, at, self.name)
            need(e.pack == 0, self.name, "pack number in a directory")
            need(e.offset >= end, self.name, "chunks overlap")
            end = e.end
            entries.append(e)
        need(end <= t.offset, self.name, "chunk lies in the directory")
        return entries

    def chunk(self, e):
        """The verified content of entry e."""
        place = f"{self.name}: offset {e.offset}: chunk {e.id.hex()[:16]}"
        need(e.end <= len(self.data), place, "past the end")
        coded = unseal(self.key, e.offset, self.data[e.offset:e.end],
                       e.aad(), place)
        content = codec.decode(e.codec, coded, e.length, place)
        if self.masters.chunk_id(e.kind, content) != e.id:
            raise Corrupt(f"{place}: content has another id")
        if e.kind == KIND_NODE:
            need(len(content) >= 8, place, "node is too short")
        return content
