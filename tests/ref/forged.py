#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""forged.py VMSNAP: the command on each forgery that all readers must refuse.

check must end with the status that the forgery says; a restore refuses and
leaves nothing, or what it writes is right. Works in the current directory.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys

from forge import CONTENT, make
from vsref.forgeries import FORGERIES

PASSPHRASE = "correct horse"
REFUSALS = (3, 4, 6)
FORGERIES_MIN = 200
TRIALS = [None, *(f for f in FORGERIES if f.readers == "all")]


def run(store, *arguments):
    """(exit status, the end of what it said); a hang raises."""
    done = subprocess.run(
        [sys.argv[1], *arguments], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        check=False, env=dict(os.environ, VMSNAP_STORE=store,
                              VMSNAP_PASSPHRASE=PASSPHRASE))
    words = done.stdout.decode(errors="replace").splitlines()
    return done.returncode, "\n".join(words[-2:])


def restore_fault(store, got, must_work):
    """What is wrong with a restore, or None."""
    status, said = run(store, "restore", "vm", got)
    left = os.path.exists(got)
    if status == 0:
        if not left:
            return "restore gave nothing"
        with open(got, "rb") as f:
            right = f.read() == CONTENT
        return None if right else "restore gave wrong bytes"
    if status not in REFUSALS or must_work:
        return f"restore: exit {status}\n{said}"
    return "restore refused, but left a file" if left else None


def trial(number):
    """What is wrong with the command's answers to one store: lines."""
    forgery = TRIALS[number]
    name = forgery.name if forgery else "honest"
    want = forgery.status if forgery else 0
    folder = os.path.abspath(name)
    store = os.path.join(folder, "store")
    faults = []
    try:
        make(store, PASSPHRASE, forgery)
        status, said = run(store, "check", "--read-data")
        if status != want:
            faults.append(f"check: exit {status}, not {want}\n{said}")
        fault = restore_fault(store, os.path.join(folder, "got"),
                              not forgery)
        if fault:
            faults.append(fault)
    except subprocess.TimeoutExpired as e:
        faults.append(f"{e.cmd[1]} hangs")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [f"BAD {name}: {fault}" for fault in faults]


def main():
    bad = 0
    with multiprocessing.Pool() as pool:
        for faults in pool.imap(trial, range(len(TRIALS))):
            bad += bool(faults)
            for fault in faults:
                print(fault)
    print(f"{len(TRIALS)} stores, {bad} answered wrongly")
    return 1 if bad or len(TRIALS) < FORGERIES_MIN else 0


if __name__ == "__main__":
    sys.exit(main())
