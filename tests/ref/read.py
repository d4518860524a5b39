#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The second reader: read.py STORE list | show SNAP |
restore SNAP[:DISK] OUT | check [--tags] | recovery [TEXT]

recovery prints the recovery copy; with a file TEXT it holds one against the
store, object by object, in whatever way it was typed.
The passphrase is taken from VMSNAP_PASSPHRASE. Exit status as vmsnap's:
0 done, 2 usage, 3 corrupt, 4 not found, 6 too new, 7 wrong passphrase.
"""

import os
import sys

from vsref import recovery, tree
from vsref.check import Check
from vsref.errors import NotFound, Refusal, need
from vsref.store import Store


def cmd_list(store):
    for s in sorted(store.snapshots(), key=lambda s: (s.name, s.rank)):
        print(s.id.hex(), s.name, s.sequence, s.time, s.label or "-")


def cmd_show(store, name):
    s = store.snapshot(name)
    print("snapshot", s.id.hex(), s.name, s.sequence, s.time, s.label or "-")
    for v in s.volumes:
        print("disk", v.name, v.size, v.chunk_size, v.root.hex(),
              v.tags.hex() if v.tags is not None else "-")


def cmd_restore(store, name, out):
    name, _, disk = name.partition(":")
    volumes = [v for v in store.snapshot(name).volumes
               if not disk or v.name == disk]
    if len(volumes) != 1:
        raise NotFound(f"'{name}' has {len(volumes)} such disks: name one")
    # Beside it and renamed, so that a refusal leaves nothing half-written.
    part = f"{out}.part-{os.getpid()}"
    try:
        with open(part, "wb") as f:
            for number, content in tree.read(store, volumes[0]):
                f.seek(number * volumes[0].chunk_size)
                f.write(content)
            f.truncate(volumes[0].size)
        os.rename(part, out)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def cmd_check(store, *options):
    check = Check(store, tags="--tags" in options)
    check.run()
    for notice in check.notices:
        print("notice:", notice)
    for fault in check.faults:
        print("fault:", fault)
    return check.status


def cmd_recovery(store, typed=None):
    slots = [store.read("keys/" + i.hex()) for i in store.ids("keys")]
    if typed is None:
        print(recovery.build([store.config.data, *slots]), end="")
        return
    with open(typed, encoding="ascii", errors="replace") as f:
        first, *rest = recovery.parse(f.read())
    need(first == store.config.data, typed, "another config")
    need(sorted(rest) == sorted(slots), typed, "other key slots")


COMMANDS = {"list": (cmd_list, 0, 0), "show": (cmd_show, 1, 1),
            "restore": (cmd_restore, 2, 2), "check": (cmd_check, 0, 1),
            "recovery": (cmd_recovery, 0, 1)}


def main(arguments):
    if len(arguments) < 2 or arguments[1] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    work, least, most = COMMANDS[arguments[1]]
    rest = arguments[2:]
    if not least <= len(rest) <= most:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        store = Store(arguments[0], os.environ.get("VMSNAP_PASSPHRASE"))
        return work(store, *rest) or 0
    except Refusal as e:
        print(f"read.py: {e}", file=sys.stderr)
        return e.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
