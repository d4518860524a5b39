# SPDX-License-Identifier: Apache-2.0
"""Makes stores: legal ones, and with a hook ones that break one rule.

A builder calls hook(stage, value) on each thing it is about to seal or sum
and takes what comes back, so that a forgery is sealed like honest data.
What it writes depends on the seed only.
"""

import os
import random
from struct import pack

from . import codec, config, entry, header, keys, records, trailer
from .pack import name_of
from .table import (BLOCK, FENCE_STEP, PER_BLOCK, PIECE, filter_bits, up)
from .tree import FANOUT, level_of

TIME = 1700000000 * 10 ** 9


def honest(_stage, value):
    return value


def le64(value):
    return pack("<Q", value)


class Builder:
    def __init__(self, path, passphrase, hook=honest, seed=1):
        self.path = path
        self.hook = hook
        self.random = random.Random(seed).randbytes
        self.masters = keys.Masters(*(self.random(32) for _ in range(3)))
        self.store_id = self.random(16)
        self.pending = []  # (Entry, sealed later: coded)
        self.known = {}  # id -> True
        self.packs = {}  # pack id -> (length, [Entry])
        self.sequences = {}
        for folder in ("keys", "packs", "tables", "snapshots", "pins",
                       "condemned"):
            os.makedirs(os.path.join(path, folder))
        self.add_slot(passphrase)
        self.write("config", config.build(
            self.masters, self.store_id, passphrase is None, 14, TIME, hook))

    def write(self, name, data):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as f:
            f.write(data)

    def add_slot(self, passphrase, label=b"", cost=(10, 8, 1)):
        slot_id = self.random(16)
        self.write("keys/" + slot_id.hex(), keys.build_slot(
            self.masters, self.store_id, slot_id, passphrase, TIME,
            self.random(32), self.hook, label, cost))

    # Chunks and packs

    def add(self, kind, content, force=None, again=False):
        """The id of a chunk; `again` stores a second copy of a known one."""
        chunk_id = self.masters.chunk_id(kind, content)
        if chunk_id in self.known and not again:
            return chunk_id
        self.known[chunk_id] = True
        number, coded = codec.encode(content, force=force)
        number, coded, length = self.hook(
            "coded", (number, coded, len(content)))
        self.pending.append((entry.Entry(
            chunk_id, 0, 0, len(coded) + keys.TAG, number, length, kind),
            coded))
        return chunk_id

    def flush(self):
        """The chunks so far become a pack; its id."""
        pack_id = self.random(32)
        name = name_of(pack_id)
        key = self.masters.object_key("pack", pack_id)
        head = header.build("pack", self.store_id, pack_id, self.hook)
        parts, entries, at = [head], [], len(head)
        for e, coded in self.pending:
            e = e._replace(offset=at)
            parts.append(keys.seal(key, at, coded, e.aad()))
            entries.append(e)
            at = e.end
        listed = self.hook("pack.entries", list(entries))
        sealed = keys.seal(key, at, b"".join(e.bytes() for e in listed),
                           head + name.encode())
        parts += [sealed, trailer.build("pack", len(listed), at, len(sealed),
                                        self.hook("pack.gap", b""),
                                        self.hook)]
        data = self.hook("pack.object", b"".join(parts))
        self.write(name, data)
        self.packs[pack_id] = len(data), entries
        self.pending = []
        return pack_id

    # Tables

    def table(self, pack_ids, replaces=()):
        """A table over packs; of copies the first pack's is named."""
        table_id = self.random(32)
        key = self.masters.object_key("table", table_id)
        found = {}
        for number, pack_id in enumerate(pack_ids):
            for e in self.packs[pack_id][1]:
                found.setdefault(e.id, e._replace(pack=number))
        entries = self.hook("table.entries",
                            [found[i] for i in sorted(found)])
        refs = b"".join(p + pack("<QII", self.packs[p][0],
                                 len(self.packs[p][1]), 0) for p in pack_ids)
        head = header.build("table", self.store_id, table_id, self.hook)
        data = head + self.hook("table.zeros", bytes(BLOCK - len(head)))
        data += self._blocks(key, entries)
        sections = [self._fences(entries), self.hook("table.packs", refs),
                    b"".join(self.hook("table.replaces",
                                       [table_id, *replaces])[1:]),
                    self._filter(entries)]
        footer = pack("<QQ", len(entries), up(len(entries), PER_BLOCK))
        for plain, size in zip(sections, (8, 48, 32, 32)):
            footer += pack("<QQ", len(data), len(plain) // size)
            for i in range(0, len(plain), PIECE):
                data += keys.seal(key, len(data), plain[i:i + PIECE])
        footer = self.hook("table.footer", footer.ljust(128, b"\0"))
        data += self.hook("table.before footer", b"")
        name = "tables/" + table_id.hex()
        sealed = keys.seal(key, len(data), footer, head + name.encode())
        data += sealed + trailer.build("table", 0, len(data), len(sealed),
                                       self.hook("table.gap", b""),
                                       self.hook)
        self.write(name, self.hook("table.object", data))
        return table_id

    def _blocks(self, key, entries):
        data = b""
        for i in range(0, len(entries), PER_BLOCK):
            plain = b"".join(e.bytes() for e in entries[i:i + PER_BLOCK])
            if len(plain) < BLOCK - keys.TAG:
                plain += self.hook("table.fill", bytes(
                    BLOCK - keys.TAG - len(plain)))
            data += keys.seal(key, BLOCK + len(data), plain)
        return data

    def _fences(self, entries):
        step = FENCE_STEP * PER_BLOCK
        return self.hook("table.fences", b"".join(
            e.id[7::-1] for e in entries[::step]))

    def _filter(self, entries):
        blocks = up(len(entries) * 10, 256)
        words = [0] * (8 * blocks)
        for e in entries:
            block, bits = filter_bits(e.id, blocks)
            for i, bit in enumerate(bits):
                words[8 * block + i] |= 1 << bit
        return self.hook("table.filter", pack(f"<{len(words)}I", *words))

    # Trees and snapshots

    def tree(self, content, chunk_log2, tags=None, force=None):
        """The root of content; the chunks' tags are put into `tags`."""
        size = 1 << chunk_log2
        zeros = bytes(size)
        ids = []
        for number, at in enumerate(range(0, len(content), size)):
            piece = content[at:at + size]
            hole = piece == zeros[:len(piece)]
            ids.append(keys.NULL_ID if hole else
                       self.add(keys.KIND_DATA, piece, force))
            if tags is not None:
                tags += self.masters.filter_tag(number,
                                                None if hole else piece)
        for level in range(1, level_of(len(ids)) + 1):
            ids = [self._node(level, ids[i:i + FANOUT])
                   for i in range(0, max(len(ids), 1), FANOUT)]
        return ids[0]

    def _node(self, level, ids):
        while ids and ids[-1] == keys.NULL_ID:
            ids = ids[:-1]
        if not ids:
            return keys.NULL_ID
        return self.add(keys.KIND_NODE, self.hook(
            "node", pack("<II", level, len(ids)) + b"".join(ids)))

    def volume(self, name, content, chunk_log2=14, tags=True, more=(),
               force=None):
        """The payload of a volume record, its trees stored on the way."""
        found = bytearray() if tags else None
        root = self.tree(content, chunk_log2, found, force)
        fields = [(1, self.hook("disk", name.encode())),
                  (2, le64(len(content))), (3, pack("<I", chunk_log2)),
                  (4, root)]
        if tags:
            fields.append((5, self.tree(self.hook("tags", bytes(found)), 14)))
        return self._records("volume", [*fields, *more])

    def _records(self, stage, fields):
        """Fields are (type, payload) or (type, payload, flags)."""
        fields = self.hook(stage + ".fields", fields)
        return self.hook(stage + ".plain", b"".join(
            records.record(*f) for f in fields))

    def snapshot(self, name, volumes, more=()):
        name = self.hook("snapshot.name", name.encode())
        sequence = self.sequences[name] = self.sequences.get(name, 0) + 1
        sequence = self.hook("sequence", sequence)
        # Not masters.name_tag(): a forged name need not be UTF-8.
        tag = self.masters._mac(b"\x10" + name)[:8]
        snapshot_id = self.hook("snapshot.id", self.random(16) + tag +
                                sequence.to_bytes(8, "big"))
        fields = [(1, name, 1), (3, le64(sequence), 1),
                  (4, pack("<q", TIME + sequence), 1), *more,
                  *((7, v, 1) for v in volumes)]
        self.sealed("snapshot", "snapshots/" + snapshot_id.hex(), fields)
        return snapshot_id

    def sealed(self, word, name, fields):
        self.write(name, records.seal_object(
            self.masters, word, self.store_id, self.random(32), name,
            self._records(word, fields), self.hook))

    def pin(self, volumes, more=()):
        self.sealed("pin", "pins/" + self.random(16).hex(),
                    [(1, b"image"), (4, pack("<q", TIME)), *more,
                     *((5, v) for v in volumes)])

    def condemned(self, pack_ids):
        self.sealed("condemned", "condemned/" + self.random(16).hex(),
                    [(1, pack("<q", TIME)), (2, pack("<q", TIME + 1)),
                     (3, b"".join(pack_ids))])
