#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# NBD to a live image and to a throw-away layer: written, copied both ways,
# compared, its map, the server killed, opened twice, the ways to go wrong.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in nbdkit nbdinfo nbdcopy qemu-io; do
	command -v $tool >/dev/null || skip "no $tool"
done
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
vmsnap init -q
# 8 MiB of data, then nothing up to 64 MiB.
truncate -s 64M a.raw
dd if=/dev/urandom of=a.raw bs=1M count=8 conv=notrunc status=none
vmsnap backup -q web a.raw
vmsnap image create -q disk.vsi --from web

server=
stop() {
	local status=0
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || :
	wait "$server" || status=$?
	server=
	[ "$status" = 0 ] || fail "the server ended with $status"
}
crash() {
	kill -9 "$server"
	wait "$server" 2>/dev/null || :
	server=
}
trap '[ -z "$server" ] || kill -9 "$server"' EXIT
uri="nbd+unix:///?socket=$TMP/sock"
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
serve() {
	"$VMSNAP" nbd "$@" --socket "$TMP/sock" 2>"$TMP/nbd-err" &
	server=$!
	until_true ready
}
# qemu COMMAND...: all of them, in one connection; a pattern that is not there
# fails.
qemu() {
	local words=() word
	for word in "$@"; do words+=(-c "$word"); done
	qemu-io -f raw "${words[@]}" "$uri" >qemu-out 2>&1 ||
		{ cat qemu-out >&2; return 1; }
	! grep -Eqi 'fail|error' qemu-out || { cat qemu-out >&2; return 1; }
}
# model PATTERN OFFSET LENGTH: the same write to the plain file.
model() {
	python3 - "$@" <<-'P'
	import sys
	pattern, at, length = (int(x) for x in sys.argv[1:])
	with open("model.raw", "r+b") as f:
	    f.seek(at)
	    f.write(bytes([pattern]) * length)
	P
}
as_model() {
	nbdcopy "$uri" out.raw
	cmp model.raw out.raw || fail "the image is not what was written"
}

# What the server says of it.
serve --image disk.vsi --writable
[ "$(nbdinfo --size "$uri")" = 67108864 ] || fail "size"
! nbdinfo --is read-only "$uri" || fail "read-only"
for feature in multi-conn flush fua trim zero cache; do
	nbdinfo --can $feature "$uri" || fail "can't $feature"
done
cp a.raw model.raw
as_model
map() { nbdinfo --map "$uri" | awk '{print $1, $2, $3}'; }
map >map
printf '%s\n' "0 8388608 0" "8388608 58720256 3" >wanted
diff wanted map || fail "the map of the base is wrong"

# In use.
expect 5 vmsnap nbd --image disk.vsi --writable --socket "$TMP/other"
errs 'in use'
expect 5 vmsnap nbd --image disk.vsi --socket "$TMP/other"
expect 5 vmsnap nbd --image disk.vsi --writable --socket "$TMP/sock"

# Patterns: clusters, blocks, sectors, over their borders; zeros, discard, FUA.
qemu 'write -P 7 1M 64k' 'write -P 9 2560 512' 'write -P 11 65024 1024' \
	'write -P 13 2031616 196608' 'write -P 15 20M 512' \
	'write -P 17 33554944 3584' 'discard 4M 1M' 'write -z 6M 4k' \
	'write -z 6292992 1536' 'write -z -u 3M 64k' 'write -f -P 19 40M 5120' \
	'read -P 7 1M 64k' 'read -P 9 2560 512' 'read -P 0 4M 1M' \
	'read -P 0 6M 4k' 'read -P 19 40M 5120' 'read -P 0 41948672 3072' flush
model 7 1048576 65536
model 9 2560 512
model 11 65024 1024
model 13 2031616 196608
model 15 20971520 512
model 17 33554944 3584
model 0 4194304 1048576
model 0 6291456 4096
model 0 6292992 1536
model 0 3145728 65536
model 19 41943040 5120
as_model
map >map
awk '{ if ($1 != at) exit 1; at = $1 + $2 } END { exit at != 67108864 }' map ||
	fail "the map has gaps: $(cat map)"
for line in "4194304 1048576 3" "3145728 65536 3" "20971520 4096 0"; do
	grep -qx "$line" map || fail "the map has no '$line': $(cat map)"
done
# In, with several connections, over what is there.
disk b.raw 67108864 5
nbdcopy --connections=4 --requests=16 --flush b.raw "$uri"
cp b.raw model.raw
as_model
# Killed after a flush: what was flushed is there.
qemu 'write -P 21 5M 192k' 'write -P 22 512 512' 'discard 9M 2M' flush
model 21 5242880 196608
model 22 512 512
model 0 9437184 2097152
qemu 'write -P 23 60M 64k'
crash
serve --image disk.vsi --writable
qemu 'read 60M 64k'
nbdcopy "$uri" out.raw
cmp -n 62914560 model.raw out.raw || fail "flushed data is lost"
cmp -i 62980096 model.raw out.raw || fail "flushed data is lost at the end"
# With FUA, without a flush.
qemu 'write -f -P 31 61M 4k' 'write -f -P 33 63963648 512'
crash
serve --image disk.vsi --writable
qemu 'read -P 31 61M 512' 'read -P 33 63963648 512' 'read -P 31 63964160 3072'
nbdcopy "$uri" before.raw
stop
[ ! -s nbd-err ] || fail "it said: $(cat nbd-err)"
expect 0 vmsnap image check disk.vsi

# Read-only: two at a time, and nothing is written.
serve --image disk.vsi
nbdinfo --is read-only "$uri" || fail "not read-only"
nbdcopy "$uri" out.raw
same before.raw out.raw
expect 5 vmsnap nbd --image disk.vsi --writable --socket "$TMP/other"
! qemu 'write -P 1 0 512' 2>/dev/null || fail "a read-only one was written to"
stop
# The store moved: -s says where. Without: a word of it.
mv store elsewhere
expect 4 vmsnap nbd --image disk.vsi --socket "$TMP/sock"
serve --image disk.vsi -s elsewhere
nbdcopy "$uri" out.raw
same before.raw out.raw
stop
mv elsewhere store
# A blank one needs no store.
expect 0 vmsnap image create blank.vsi --size 4M
(
	unset VMSNAP_STORE VMSNAP_PASSPHRASE
	serve --image blank.vsi --writable
	qemu 'read -P 0 0 4M' 'write -P 5 0 1M' 'read -P 5 0 1M'
	stop
)

# A throw-away layer, in TMPDIR and without a name.
mkdir tmp
TMPDIR=$TMP/nowhere expect 1 vmsnap nbd web --writable --socket "$TMP/other"
errs "'$TMP/nowhere'"
TMPDIR=$TMP/tmp serve web --writable
[ -z "$(ls -A tmp)" ] || fail "others can find it: $(ls -A tmp)"
cp a.raw model.raw
as_model
qemu 'write -P 7 1M 64k' 'discard 2M 1M' flush
model 7 1048576 65536
model 0 2097152 1048576
as_model
stop
[ -z "$(ls -A tmp)" ] || fail "it left: $(ls -A tmp)"
TMPDIR=$TMP/tmp serve web --writable
qemu 'write -P 7 1M 64k'
crash
[ -z "$(ls -A tmp)" ] || fail "killed, it left: $(ls -A tmp)"
vmsnap restore -q web again.raw
same a.raw again.raw

# A damaged store: reads of that range fail, no more; what is written counts.
for pack in $(find store/packs -type f -size +900k); do
	chmod 600 "$pack"
	python3 - "$pack" <<-'P'
	import sys
	with open(sys.argv[1], "r+b") as f:
	    f.seek(300000)
	    f.write(bytes(400000))
	P
done
expect 0 vmsnap image create second.vsi --from web
serve --image second.vsi --writable
# With one connection: nbdkit 1.32 aborts when a client with several hangs up.
! qemu 'read 0 8M' 2>/dev/null || fail "damage was not noticed"
qemu 'read -P 0 9M 8M'
grep -q 'Input/output error' nbd-err || fail "no word of it: $(cat nbd-err)"
qemu 'write -P 1 0 8M' 'read -P 1 0 8M' flush
nbdcopy "$uri" out.raw
stop

expect 2 vmsnap nbd --image disk.vsi
expect 2 vmsnap nbd --socket x
expect 2 vmsnap nbd web --image disk.vsi --socket x
expect 2 vmsnap nbd --image disk.vsi --disk disk0 --socket x
expect 4 vmsnap nbd --image nono.vsi --socket x
echo 'no image' >no.vsi
expect 3 vmsnap nbd --image no.vsi --socket x
expect 7 env VMSNAP_PASSPHRASE=wrong "$VMSNAP" nbd --image disk.vsi --socket x
