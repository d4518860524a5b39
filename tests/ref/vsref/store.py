# SPDX-License-Identifier: Apache-2.0
"""A store in a directory, opened: masters, tables, chunks, snapshots."""

import os
import re

from . import config, keys, manifest
from .errors import Corrupt, NotFound, Refusal, WrongKey, need
from .pack import Pack
from .table import Table

HEX = {
    "keys": re.compile(r"[0-9a-f]{32}\Z"),
    "tables": re.compile(r"[0-9a-f]{64}\Z"),
    "snapshots": re.compile(r"[0-9a-f]{64}\Z"),
    "pins": re.compile(r"[0-9a-f]{32}\Z"),
    "condemned": re.compile(r"[0-9a-f]{32}\Z"),
}
CACHE_MAX = 16 << 20  # bytes of content


class Store:
    def __init__(self, path, passphrase):
        self.path = path
        if not os.path.exists(os.path.join(path, "config")):
            raise NotFound(f"no store at '{path}'")
        self.config = config.parse(self.read("config"))
        self.masters = self._unlock(passphrase)
        self.config.check_mac(self.masters)
        self._tables = None
        self._places = {}
        self._packs = {}
        self._chunks = {}  # verified; a check comes to most again
        self._cached = 0

    def read(self, name):
        try:
            with open(os.path.join(self.path, name), "rb") as f:
                return f.read()
        except FileNotFoundError as e:
            raise Corrupt(f"{name}: is missing") from e

    def ids(self, folder):
        """Ids of the objects of a folder; other names are not objects."""
        try:
            names = os.listdir(os.path.join(self.path, folder))
        except FileNotFoundError:
            names = []
        return sorted(bytes.fromhex(n) for n in names
                      if HEX[folder].match(n))

    def pack_ids(self):
        found, root = set(), os.path.join(self.path, "packs")
        for first in os.listdir(root) if os.path.isdir(root) else []:
            if not re.match(r"[0-9a-f]{2}\Z", first):
                continue
            for name in os.listdir(os.path.join(root, first)):
                if re.match(r"[0-9a-f]{64}\Z", name) and name[:2] == first:
                    found.add(bytes.fromhex(name))
        return found

    def slot(self, slot_id):
        """A key slot, checked; one that must not be here is refused."""
        place = "keys/" + slot_id.hex()
        slot = keys.parse_slot(self.read(place), slot_id, place)
        need(slot.store_id == self.config.store_id, place,
             "belongs to another store")
        need(slot.kind != keys.CLEAR or self.config.plaintext, place,
             "clear slot in an encrypted store")
        return slot

    def _unlock(self, passphrase):
        """The first slot that opens; else why the last one did not."""
        why = WrongKey("no key slot")
        for slot_id in self.ids("keys"):
            try:
                return self.slot(slot_id).masters(passphrase)
            except Refusal as e:
                if isinstance(why, WrongKey):
                    why = e
        raise why

    @property
    def tables(self):
        """The tables that no other one hides."""
        if self._tables is None:
            found = [Table(self, i) for i in self.ids("tables")]
            hidden = {i for t in found for i in t.replaces}
            self._tables = [t for t in found if t.id not in hidden]
            for t in self._tables:
                for e in t.entries:
                    self._places.setdefault(e.id, []).append(
                        (t.packs[e.pack], e))
        return self._tables

    def pack(self, pack_id):
        if pack_id not in self._packs:
            if len(self._packs) >= 8:
                self._packs.clear()
            self._packs[pack_id] = Pack(self, pack_id)
        return self._packs[pack_id]

    def chunk(self, chunk_id, kind):
        """Verified content; a bad copy is passed over for a good one."""
        assert self.tables is not None
        if (chunk_id, kind) not in self._chunks:
            content = self._verified(chunk_id, kind)
            if self._cached + len(content) > CACHE_MAX:
                self._chunks.clear()
                self._cached = 0
            self._chunks[chunk_id, kind] = content
            self._cached += len(content)
        return self._chunks[chunk_id, kind]

    def _verified(self, chunk_id, kind):
        why = Corrupt(f"chunk {chunk_id.hex()}: no table names it")
        for ref, e in self._places.get(chunk_id, ()):
            try:
                need(e.kind == kind, "chunk " + chunk_id.hex(),
                     "is of the other kind")
                pack = self.pack(ref.id)
                need(len(pack.data) == ref.length, pack.name,
                     "length differs from the table's")
                return pack.chunk(e)
            except Refusal as error:
                why = error
        raise why

    def snapshots(self):
        return [manifest.read_snapshot(self, i)
                for i in self.ids("snapshots")]

    def snapshot(self, name):
        """NAME, NAME@latest, NAME@LABEL, or 8 or more digits of the id."""
        everything = sorted(self.snapshots(), key=lambda s: s.rank)
        name, _, label = name.partition("@")
        found = [s for s in everything if s.name == name and
                 (label in ("", "latest") or s.label == label)]
        if not found and re.match(r"[0-9a-f]{8,64}\Z", name):
            found = [s for s in everything if s.id.hex().startswith(name)]
            if len(found) > 1:
                raise NotFound(f"'{name}' means several snapshots")
        if not found:
            raise NotFound(f"no snapshot '{name}'")
        return found[-1]
