#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""forge.py list | make NAME STORE | self

Stores that break one rule of spec/store.md each, sealed with the store's own
keys. `list` prints NAME STATUS READERS, with the status that `check` must end
with and READERS `all` or `ref` (only the second reader can be held to it).
`self` holds read.py to them all; forged.py does so to the command.
The passphrase is taken from VMSNAP_PASSPHRASE.
"""

import multiprocessing
import os
import sys
import tempfile

from vsref import tree
from vsref.build import Builder, honest
from vsref.check import Check
from vsref.errors import Refusal
from vsref.forgeries import FORGERIES, PLANTS
from vsref.store import Store
from write import disk

CONTENT = disk(7, 300 * 16384 + 999)


def make(store, passphrase, forgery):
    """A store of one pack, table, snapshot, pin and condemned list."""
    used = []

    def hook(stage, value):
        if forgery and stage == forgery.stage:
            used.append(stage)
            return forgery.change(value, len(used) - 1)
        return value

    b = Builder(store, passphrase, hook if forgery else honest)
    volume = b.volume("disk0", CONTENT)
    packs = [b.flush()]
    b.table(packs)
    b.snapshot("vm", [volume])
    b.pin([volume])
    b.condemned([bytes(32)])
    if forgery and forgery.stage in PLANTS:
        used.append(forgery.stage)
        forgery.change(b, packs)
    assert not forgery or used, f"{forgery.name} changes nothing"


def restored(store):
    volume = store.snapshot("vm").volumes[0]
    data = bytearray(volume.size)
    for number, content in tree.read(store, volume):
        at = number * volume.chunk_size
        data[at:at + len(content)] = content
    return bytes(data)


def judge(path, passphrase):
    """(status of check, is what a restore gives right or refused)."""
    try:
        store = Store(path, passphrase)
        check = Check(store, tags=True)
        check.run()
        status, why = check.status, check.faults
    except Refusal as e:
        return e.status, True, [e]
    try:
        return status, restored(store) == CONTENT, why
    except Refusal:
        return status, True, why


def self_trial(number):
    """(right, a line) of one forgery; 0 is an honest store."""
    forgery = FORGERIES[number - 1] if number else None
    name = forgery.name if forgery else "honest"
    want = forgery.status if forgery else 0
    passphrase = os.environ.get("VMSNAP_PASSPHRASE")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "store")
        make(path, passphrase, forgery)
        status, right, why = judge(path, passphrase)
    words = "; ".join(str(w) for w in why[:1])
    # Mostly the words tell whether the right rule was met.
    said = forgery.says in words if forgery else True
    if status == want and right and said:
        return True, f"ok {name}: {words}"
    return False, (f"BAD {name}: {status}, not {want}; restore "
                   f"{'right' if right else 'WRONG'}: {words}")


def self_test():
    bad = 0
    with multiprocessing.Pool() as pool:
        for right, line in pool.imap(self_trial, range(len(FORGERIES) + 1)):
            bad += not right
            print(line)
    print(f"{len(FORGERIES)} forgeries, {bad} bad")
    return 1 if bad else 0


def main(arguments):
    passphrase = os.environ.get("VMSNAP_PASSPHRASE")
    if arguments == ["list"]:
        for f in FORGERIES:
            print(f.name, f.status, f.readers)
    elif arguments == ["self"]:
        return self_test()
    elif len(arguments) == 3 and arguments[0] == "make":
        found = [f for f in FORGERIES if f.name == arguments[1]]
        if not found and arguments[1] != "honest":
            return 4
        make(arguments[2], passphrase, found[0] if found else None)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
