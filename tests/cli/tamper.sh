#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Any tampering with any file of a store: found or harmless, never a wrong byte.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

disk d.raw 700000 1
cp d.raw first.raw
disk more.raw 300000 2

# stores OPTION...: "good" of two snapshots, "early" as it was after the first,
# "foreign" with other keys.
stores() {
	rm -rf store good early foreign
	cp first.raw d.raw
	vmsnap init -q "$@"
	vmsnap -s foreign init -q "$@"
	vmsnap backup -q vm d.raw
	cp -a store early
	poke d.raw 100000 changed
	cat more.raw >>d.raw
	vmsnap backup -q vm d.raw
	vmsnap -s foreign backup -q vm d.raw
	cp -a store good
}

cat >tamper.py <<'EOF'
import os, pathlib, random, shutil, subprocess, sys

vmsnap, kinds, seed = sys.argv[1], sys.argv[2:], 11
source = random.Random(seed)
good, store = pathlib.Path("good"), pathlib.Path("store")
want = open("d.raw", "rb").read()
allowed = {0, 1, 3, 4, 6, 7}
found = {}
count = 0

def run(*arguments):
    done = subprocess.run([vmsnap, *arguments], capture_output=True)
    if done.returncode < 0 or done.returncode not in allowed:
        sys.exit(f"{what}: {arguments}: status {done.returncode}: "
                 f"{done.stderr.decode(errors='replace')}")
    if done.returncode and not done.stderr.startswith(b"vmsnap: "):
        sys.exit(f"{what}: {arguments}: no word of it")
    return done

def look():
    global count
    count += 1
    out = pathlib.Path("out.raw")
    out.unlink(missing_ok=True)
    done = run("restore", "-q", "vm", "out.raw")
    restored = done.returncode
    if restored == 0:
        got = out.read_bytes()
        if got != want and latest_is_there:
            sys.exit(f"{what}: a wrong byte was restored")
    elif out.exists():
        sys.exit(f"{what}: a failed restore left out.raw")
    pipe = run("restore", "vm", "-")
    if pipe.returncode == 0 and pipe.stdout != want and latest_is_there:
        sys.exit(f"{what}: a wrong byte in a pipe")
    if latest_is_there and not want.startswith(pipe.stdout[:1 << 14]):
        sys.exit(f"{what}: wrong bytes before the error")
    verified = run("verify", "vm").returncode
    if (restored == 0) != (verified == 0):
        sys.exit(f"{what}: restore {restored}, verify {verified}")
    checked = run("check", "--read-data").returncode
    if restored and not checked:
        sys.exit(f"{what}: restore ended in {restored}, check found nothing")
    found.setdefault(kind, set()).update((restored, checked))
    return restored, checked

def fresh():
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(good, store)

files = sorted(p.relative_to(good) for p in good.rglob("*") if p.is_file())
by_kind = {}
for path in files:
    by_kind.setdefault(path.parts[0], []).append(path)
assert set(by_kind) >= {"config", "keys", "packs", "tables", "snapshots"}
snapshots = sorted(by_kind["snapshots"],
                   key=lambda p: bytes.fromhex(p.name)[24:])
latest = snapshots[-1]
for kind in kinds:
    paths = by_kind[kind]
    for path in source.sample(paths, min(len(paths), 2)):
        size = (good / path).stat().st_size
        places = {0, 8, 12, 24, 41, size // 2, size - 1, size - 30} | {
            source.randrange(size) for _ in range(3)}
        for place in sorted(p for p in places if 0 <= p < size):
            what = f"flip {path} at {place}"
            latest_is_there = True
            fresh()
            with open(store / path, "r+b") as file:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ (1 << source.randrange(8))]))
            restored, checked = look()
            if not checked and kind != "keys":
                sys.exit(f"{what}: check found nothing")
        for length in (0, 1, size // 2, size - 1):
            what = f"truncate {path} to {length}"
            fresh()
            os.truncate(store / path, length)
            if not look()[1]:
                sys.exit(f"{what}: check found nothing")
        what = f"append to {path}"
        fresh()
        with open(store / path, "ab") as file:
            file.write(b"x")
        look()
        what = f"delete {path}"
        latest_is_there = path != latest
        fresh()
        (store / path).unlink()
        look()
        latest_is_there = True
    if len(paths) > 1:
        what = f"swap two of {kind}"
        fresh()
        a, b = store / paths[0], store / paths[1]
        a.rename("aside")
        b.rename(a)
        os.rename("aside", b)
        if not look()[1]:
            sys.exit(f"{what}: check found nothing")
    # What an old copy, or another store, has under such a name.
    for other in ("early", "foreign"):
        theirs = sorted(p for p in pathlib.Path(other).rglob("*")
                        if p.is_file() and p.relative_to(other).parts[0] == kind)
        if not theirs:
            continue
        what = f"{kind} of {other} in its place"
        fresh()
        shutil.copy(theirs[0], store / paths[-1])
        look()
        what = f"{kind} of {other} added"
        fresh()
        place = store / theirs[0].relative_to(other)
        place.parent.mkdir(exist_ok=True, parents=True)
        latest_is_there = kind != "snapshots"
        if not place.exists():
            shutil.copy(theirs[0], place)
        look()
        latest_is_there = True
for kind in kinds:
    if kind != "keys" and 3 not in found[kind]:
        sys.exit(f"{kind}: corruption was never called so: {found[kind]}")
print(f"seed {seed}: {count} ways")
EOF
# Each opening of an encrypted store costs a scrypt; in all else the two are the
# same in every byte.
stores
python3 tamper.py "$VMSNAP" keys config
unset VMSNAP_PASSPHRASE
stores --plaintext
python3 tamper.py "$VMSNAP" keys config packs tables snapshots
