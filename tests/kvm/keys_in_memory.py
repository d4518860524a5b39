#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks for a store's master keys and its passphrase in processes' memory.

keys_in_memory.py STORE PASSPHRASE "KIND PID"...: a keeper has the masters and
no passphrase, its watcher the passphrase and no masters, an agent neither. It
must find what a keeper has, so that it can't miss what an agent might have.
"""
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "ref"))
from vsref import keys  # noqa: E402

WANTED = {"keeper": (True, False), "watcher": (False, True),
          "agent": (False, False)}


def masters_of(store, passphrase):
    """id key, data key, filter key, of the store's one slot."""
    path, = (pathlib.Path(store) / "keys").iterdir()
    slot = keys.parse_slot(path.read_bytes(), bytes.fromhex(path.name),
                           path.name)
    masters = slot.masters(passphrase)
    return masters.id_key, masters.data_key, masters.filter_key


def pieces(pid):
    """What is mapped and can be read, a mapping at a time."""
    with open(f"/proc/{pid}/maps") as maps, \
            open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except OSError:
                continue


def main():
    store, passphrase = sys.argv[1], sys.argv[2].encode()
    masters = masters_of(store, sys.argv[2])
    for word in sys.argv[3:]:
        kind, pid = word.split()
        found = [False, False]
        for piece in pieces(pid):
            found[0] |= any(master in piece for master in masters)
            found[1] |= passphrase in piece
        if tuple(found) != WANTED[kind]:
            print(f"{word}: masters {found[0]}, passphrase {found[1]}")
            return 1
    print("as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
