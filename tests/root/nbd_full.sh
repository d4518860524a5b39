#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A full disk under an image that is served: the client's write fails for want
# of space and for nothing else, what it has written stays, reads, flushes and
# trims go on; when there is room again, so do writes, in the same connection.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in nbdkit nbdinfo; do
	command -v $tool >/dev/null || skip "no $tool"
done
# Debian's Python has its module; another one that stands before it has not.
shell() { PATH=/usr/sbin:/usr/bin:/sbin:/bin nbdsh "$@"; }
shell -c pass 2>/dev/null || skip "no nbdsh"
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
[ "$(id -u)" = 0 ] || skip "must be root to mount"

mkdir mnt
mount -t tmpfs -o size=24M tmpfs mnt 2>/dev/null || skip "can't mount a tmpfs here"
server=
trap '[ -z "$server" ] || kill -9 "$server"; wait || :; umount mnt || :' EXIT
vmsnap image create -q mnt/disk.vsi --size 64M
uri="nbd+unix:///?socket=$TMP/sock"
"$VMSNAP" nbd --image mnt/disk.vsi --writable --socket "$TMP/sock" 2>nbd-err &
server=$!
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
until_true ready

cat >client.py <<'P'
import errno, os, subprocess, sys
PIECE, SIZE = 256 << 10, 64 << 20
model = bytearray(SIZE)

def put(at, fill, flags=0):
    """True: written. False: there was no space; anything else is wrong."""
    try:
        h.pwrite(bytes([fill]) * PIECE, at, flags)
    except nbd.Error as error:
        assert error.errnum == errno.ENOSPC, error
        return False
    model[at:at + PIECE] = bytes([fill]) * PIECE
    return True

def compare(end, but=None):
    for at in range(0, end, PIECE):
        if at != but:
            assert h.pread(PIECE, at) == model[at:at + PIECE], at

h.connect_uri(os.environ["URI"])
full = next(at for at in range(0, SIZE, PIECE) if not put(at, 1 + at // PIECE % 250))
assert full > 4 << 20, full
# A part of that write may be there, as on any disk; the rest is as it was.
compare(full)
h.flush()
assert put(0, 77), "an overwrite needs no space"
assert not put(48 << 20, 5, nbd.CMD_FLAG_FUA)
compare(full)
h.trim(2 << 20, 2 << 20)
h.flush()
model[2 << 20:4 << 20] = bytes(2 << 20)
compare(full)
assert put(52 << 20, 9, nbd.CMD_FLAG_FUA), "what was trimmed is room"
subprocess.run(["mount", "-o", "remount,size=120M", "mnt"], check=True)
for at in range(0, SIZE, PIECE):
    assert put(at, 1 + at // PIECE % 249), at
h.flush()
compare(SIZE)
with open("model.raw", "wb") as out:
    out.write(model)
P
URI=$uri shell -c 'exec(open("client.py").read(), globals())' ||
	{ cat nbd-err >&2; fail "the client"; }
grep -q 'No space left' nbd-err || fail "the server told nothing of it"
kill "$server"
wait "$server" || fail "the server ended with $?: $(cat nbd-err)"
server=
expect 0 vmsnap image check mnt/disk.vsi
vmsnap image export -q mnt/disk.vsi out.raw
same model.raw out.raw
