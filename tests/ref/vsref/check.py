# SPDX-License-Identifier: Apache-2.0
"""Everything in a store held against the page, and all faults told."""

from . import manifest, tree
from .errors import Refusal, need
from .pack import name_of


class Check:
    def __init__(self, store, tags=False):
        self.store = store
        self.tags = tags
        self.faults = []
        self.notices = []

    def _try(self, work, *arguments):
        try:
            return work(*arguments)
        except Refusal as e:
            if str(e) not in map(str, self.faults):
                self.faults.append(e)
            return None

    def run(self):
        store = self.store
        for slot_id in store.ids("keys"):
            self._try(store.slot, slot_id)
        tables = self._try(lambda: store.tables) or []
        named = {}
        for table in tables:
            for number, ref in enumerate(table.packs):
                entries = [e for e in table.entries if e.pack == number]
                named.setdefault(ref.id, []).append((table, ref, entries))
        for pack_id, uses in named.items():
            self._try(self._pack, pack_id, uses)
        for pack_id in store.pack_ids() - named.keys():
            self.notices.append(f"{name_of(pack_id)}: no table names it")
        for snapshot_id in store.ids("snapshots"):
            snapshot = self._try(manifest.read_snapshot, store, snapshot_id)
            for volume in snapshot.volumes if snapshot else []:
                self._try(self._volume, volume)
        for pin_id in store.ids("pins"):
            for volume in self._try(manifest.read_pin, store, pin_id) or []:
                self._try(self._volume, volume)
        for list_id in store.ids("condemned"):
            self._try(manifest.read_condemned, store, list_id)

    def _pack(self, pack_id, uses):
        pack = self.store.pack(pack_id)
        directory = pack.read_directory()
        known = {(e.id, e.offset): e for e in directory}
        for table, ref, entries in uses:
            need(ref.length == len(pack.data), table.name,
                 f"length of {pack.name}")
            need(ref.count == len(directory), table.name,
                 f"chunks of {pack.name}")
            for e in entries:
                need(known.get((e.id, e.offset)) == e._replace(pack=0),
                     table.name, f"entry {e.id.hex()[:16]} differs from "
                     f"the directory of {pack.name}")
        for e in directory:
            self._try(pack.chunk, e)

    def _volume(self, volume):
        for _ in tree.read(self.store, volume):
            pass
        if self.tags and volume.tags is not None:
            tree.check_tags(self.store, volume)
        elif volume.tags is not None:
            for _ in tree.read(self.store, volume.tags_volume()):
                pass

    @property
    def status(self):
        """Corruption outranks what is only too new."""
        kinds = {f.status for f in self.faults}
        return 3 if 3 in kinds else max(kinds, default=0)
