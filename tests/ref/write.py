#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""write.py STORE FILES: a legal but unusual store, made from the page alone.

FILES gets what each disk must read as, NAME.LABEL.DISK; the passphrase is
taken from VMSNAP_PASSPHRASE, and without one the store is plaintext.
"""

import os
import random
import sys

from vsref.build import Builder, le64
from vsref.keys import KIND_DATA


def disk(seed, size, hole_each=5, unit=16384):
    """Mixed content: random, text-like, holes; of any length."""
    rnd = random.Random(seed)
    data = bytearray()
    for number in range(-(-size // unit)):
        if number % hole_each == 1:
            data += bytes(unit)
        elif number % 3 == 0:
            data += rnd.randbytes(unit)
        else:
            data += rnd.randbytes(64) * (unit // 64)
    return bytes(data[:size])


class Late:
    """Holes and a last piece, sliced like bytes but not held in memory."""

    def __init__(self, start, tail):
        self.start, self.tail = start, tail

    def __len__(self):
        return self.start + len(self.tail)

    def __getitem__(self, where):
        if where.start >= self.start:
            return self.tail[where.start - self.start:]
        return bytes(where.stop - where.start)


def keep(folder, name, content):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(content)


def corrupt_copy(store, pack_id, entries, chunk_id):
    """Damage one of the two copies of a chunk in its pack."""
    where = next(e for e in entries if e.id == chunk_id)
    name = os.path.join(store, "packs", pack_id.hex()[:2], pack_id.hex())
    with open(name, "r+b") as f:
        f.seek(where.offset)
        byte = f.read(1)
        f.seek(where.offset)
        f.write(bytes([byte[0] ^ 1]))


def main(store, files, damage):
    b = Builder(store, os.environ.get("VMSNAP_PASSPHRASE"))
    os.makedirs(files, exist_ok=True)
    if "VMSNAP_PASSPHRASE" in os.environ:
        b.add_slot("another passphrase", b"the other one", (11, 4, 2))

    # Names that are not objects: leavings of a backend.
    for name in ("tables/.tmp-1", "snapshots/README", "packs/zz/x",
                 "packs/00/" + "11" * 32 + ".part"):
        b.write(name, b"not an object")

    # First generation: two disks, small and large chunks, each with tags.
    one = disk(1, 1400 * 16384 + 777)
    big = disk(2, (9 << 20) + 5, hole_each=1000)
    volumes = [b.volume("disk0", one, 14),
               b.volume("big", big, 22, more=[(7, b"/dev/sdb"),
                                              (99, b"unknown, optional")])]
    p1 = b.flush()
    t1 = b.table([p1])
    b.snapshot("vm", volumes, [
        (2, b"first"), (6, "h\u00f6st".encode()), (11, b"write.py"),
        (1234, b"a record of later days"),
        (8, b"".join(map(le64, (len(one) + len(big), 1, 2, 3, 4, 5, 6, 0))))])
    keep(files, "vm.first.disk0", one)
    keep(files, "vm.first.big", big)

    # Second: a change, in a pack and a table of its own; some with codec 0
    # although they could be packed, some chunks stored a second time.
    two = bytearray(one)
    two[40 * 16384:44 * 16384] = b"changed!" * (4 * 2048)
    two[100 * 16384:101 * 16384] = bytes(16384)
    two = bytes(two)
    volumes = [b.volume("disk0", two, 14, force=0)]
    copy = b.add(KIND_DATA, one[:16384], force=0, again=True)
    p2 = b.flush()
    t2 = b.table([p2])
    b.snapshot("vm", volumes, [(2, b"second")])
    keep(files, "vm.second.disk0", two)

    # Third: only holes, an empty disk, one byte, a pin, a condemned list.
    volumes = [b.volume("holes", bytes(5 << 20), 16),
               b.volume("empty", b"", 16),
               b.volume("byte", b"\x01", 20, tags=False),
               b.volume("edge", disk(3, 256 * 16384), 14),
               b.volume("late", Late(70000 * 16384, b"end"), 14, tags=False)]
    p3 = b.flush()
    t3 = b.table([p3])
    b.snapshot("odd.names_and-dots", volumes, [(2, b"L")])
    keep(files, "odd.names_and-dots.L.holes", bytes(5 << 20))
    keep(files, "odd.names_and-dots.L.empty", b"")
    keep(files, "odd.names_and-dots.L.byte", b"\x01")
    keep(files, "odd.names_and-dots.L.edge", disk(3, 256 * 16384))
    with open(os.path.join(files, "odd.names_and-dots.L.late"), "wb") as f:
        f.seek(70000 * 16384)
        f.write(b"end")
    b.pin(volumes[:1], [(2, b"host"), (3, b"/images/a.vsi")])

    # Tables 1 and 3 merged; both old ones still stand, hidden. A pack that
    # no table names, and a condemned list for it. A third stays unknown.
    b.table([p3, p1], [t1, t3, bytes(range(32))])
    b.add(KIND_DATA, b"left behind by a writer that died")
    b.condemned([b.flush()])
    assert t2
    if damage:
        corrupt_copy(store, p1, b.packs[p1][1], copy)


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--damage-a-copy"]
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*arguments, "--damage-a-copy" in sys.argv)
