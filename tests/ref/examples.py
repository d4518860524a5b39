#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""examples.py STORE.MD: the page's worked examples, held against the reader.

The inputs are those that the page names under "Examples".
"""

import hashlib
import re
import sys
from types import SimpleNamespace

from vsref import config, entry, header, keys, manifest, records, tree
from vsref.pack import Pack, name_of
from vsref.table import Table


def run(start, size):
    return bytes(range(start, start + size))


MASTERS = keys.Masters(run(0, 32), run(0x20, 32), run(0x40, 32))
STORE_ID, PACK_ID, TABLE_ID = run(0, 16), run(0x60, 32), run(0x80, 32)
SLOT_ID, PASSPHRASE, NAME = run(0xa0, 16), "correct horse", "web"
CONTENT = b"hello, store"


def examples(path):
    """{title: bytes} of all hex dumps of the page."""
    found, title = {}, None
    with open(path, encoding="utf-8") as page:
        for line in page:
            if line.startswith("#"):
                title = re.sub(r"^#+ (Example: )?", "", line.strip())
            match = re.match(r"    ([0-9a-f]{4})   ([0-9a-f ]+)$", line)
            if match and title:
                data = found.setdefault(title, bytearray())
                assert int(match[1], 16) == len(data), title
                data += bytes.fromhex(match[2])
    return {title: bytes(data) for title, data in found.items()}


def same(what, got, want):
    assert got == want, f"{what}: {got!r}, not {want!r}"


def check(page):
    """How many of the page's examples hold; an assertion where one fails."""
    chunk_id = MASTERS.chunk_id(0, CONTENT)
    same("chunk id", chunk_id, page.pop("chunk id"))
    same("name tag", MASTERS.name_tag(NAME), page.pop("name tag"))
    same("object key", MASTERS.object_key("pack", PACK_ID),
         page.pop("object key"))
    same("object header", header.build(
        "pack", STORE_ID, PACK_ID, lambda _, v: v),
        page.pop("object header"))
    for title in ("key slot, clear", "key slot, scrypt"):
        slot = keys.parse_slot(page.pop(title), SLOT_ID, title)
        same(title, slot.masters(PASSPHRASE), MASTERS)
        same(title, (slot.label, slot.store_id), ("example", STORE_ID))
    one = config.parse(page.pop("config"))
    one.check_mac(MASTERS)
    same("config", (one.chunk_log2, one.level, one.pack_size),
         (16, 3, 32 << 20))
    where = entry.parse(page.pop("entry"), 0, "entry")
    same("entry", where, entry.Entry(chunk_id, 0, 80, 28, 0, 12, 0))
    node = page.pop("tree node")
    same("tree node", tree.parse_node(node, 1, "node"),
         [bytes(32), chunk_id])
    lists(page, MASTERS.chunk_id(1, node))
    objects(page, where)
    same("examples that nobody looked at", sorted(page), [])


def lists(page, root):
    """The plaintexts of the sealed objects."""
    snapshot = records.parse_list(page.pop("snapshot, plaintext"),
                                  manifest.SNAPSHOT, "snapshot")
    same("snapshot", (snapshot["name"], snapshot["sequence"]), (NAME, 1))
    pin = records.parse_list(page.pop("pin, plaintext"), manifest.PIN, "pin")
    same("pin", pin["owner"], "image")
    for volume in snapshot["volume"] + pin["volume"]:
        same("volume", volume,
             manifest.Volume("vda", 65536 + 12, 65536, root, None))
    condemned = records.parse_list(page.pop("condemned list, plaintext"),
                                   manifest.CONDEMNED, "condemned")
    same("condemned list", condemned["packs"], [PACK_ID])


def objects(page, where):
    """The pack and the table, opened."""
    data = {name_of(PACK_ID): page.pop("pack")}
    store = SimpleNamespace(read=data.get, masters=MASTERS,
                            config=SimpleNamespace(store_id=STORE_ID))
    pack = Pack(store, PACK_ID)
    same("pack", pack.read_directory(), [where])
    same("pack", pack.chunk(where), CONTENT)
    # The page leaves out the table's first 8192 bytes, which follow from
    # what is before: header, zeros, one block.
    head = header.build("table", STORE_ID, TABLE_ID, lambda _, v: v)
    block = keys.seal(MASTERS.object_key("table", TABLE_ID), 4096,
                      where.bytes().ljust(4080, b"\0"))
    data["tables/" + TABLE_ID.hex()] = (
        head.ljust(4096, b"\0") + block +
        page.pop("table, from 8192 on"))
    same("SHA-256 of the table", hashlib.sha256(
        data["tables/" + TABLE_ID.hex()]).digest(),
        page.pop("table, SHA-256 of the whole"))
    table = Table(store, TABLE_ID)
    same("table", table.entries, [where])
    same("table", [(p.id, p.length, p.count) for p in table.packs],
         [(PACK_ID, len(pack.data), 1)])


if __name__ == "__main__":
    dumps = examples(sys.argv[1])
    number = len(dumps)
    check(dumps)
    print(f"{number} examples hold")
