#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The host's faults under a disk: no space, a file that is cut, a server that
# dies. The guest gets an I/O error for what failed, and what was well is well;
# the agent says which, and goes on. Discards and zeros give space back.
. "$TOP/tests/kvm/lib.sh"

export VMSNAP_HOME=$TMP/home TMPDIR=$TMP/layers
mkdir small home
mount -t tmpfs -o size=4M tmpfs small 2>/dev/null || {
	echo "can't mount a tmpfs here"
	exit 77
}
mkdir small/layers
ln -s small/layers layers
loop=
cleanup() {
	"$BUILD/vmsnap" rm --force --all >/dev/null 2>&1 || true
	[ -z "$loop" ] || losetup -d "$loop"
	umount small
}
trap cleanup EXIT
vmsnap() { timeout --kill-after=10 120 "$BUILD/vmsnap" "$@" >out 2>err </dev/null; }
until_true() {
	local i
	for i in $(seq 600); do
		if "$@"; then return 0; fi
		read -rt 0.1 <> <(:) || true
	done
	fail "$* does not come true"
}
blocks() { stat -c %b "$1"; }
log_has() { grep -Eq -- "$2" "home/machines/$1/console.log"; }

# No space: a raw file, an image, a layer. What did not fit is told, what did
# is there, and with room again all of it is written.
truncate -s 16M small/disk.raw
guest disk --memory 16M --disk small/disk.raw --append 'fill sum flush id'
says 'write fails: 1'
says 'id: 0 vmsnap-disk0'
says 'flush: 0'
errs 'a write failed at byte [0-9]+: No space left on device'
mount -o remount,size=20M small
guest disk --memory 16M --disk small/disk.raw --append 'fill flush check'
says 'as filled'
cp small/disk.raw filled.raw
[ "$(blocks small/disk.raw)" = 32768 ] || fail "$(blocks small/disk.raw) blocks"
# And what it no longer needs is the host's.
guest disk --memory 16M --disk small/disk.raw --append 'trim sum'
says 'trim: 0'
says 'sum 0'
[ "$(blocks small/disk.raw)" = 0 ] || fail "$(blocks small/disk.raw) blocks"
guest disk --memory 16M --disk small/disk.raw --append 'fill zero sum'
says 'zero: 0'
says 'sum 0'
[ "$(blocks small/disk.raw)" = 0 ] || fail "$(blocks small/disk.raw) blocks"
rm small/disk.raw

mount -o remount,size=4M small
"$BUILD/vmsnap" image create small/disk.vsi --size 16M >out
# Its map has no room either, so that the agent's end is no good one.
agent --kernel "$BUILD/tests/kvm/disk.elf" --memory 16M --disk small/disk.vsi \
	--append fill >out 2>err </dev/null || true
says 'write fails: 1'
errs 'a write failed at byte [0-9]+: No space left on device'
mount -o remount,size=24M small
guest disk --memory 16M --disk small/disk.vsi --append 'fill flush check'
says 'as filled'
"$BUILD/vmsnap" image export small/disk.vsi exported.raw >out
cmp exported.raw filled.raw
"$BUILD/vmsnap" image check small/disk.vsi >out || fail "$(cat out)"
guest disk --memory 16M --disk small/disk.vsi --append 'trim sum zero sum'
says 'trim: 0'
says 'sum 0'
"$BUILD/vmsnap" image rm small/disk.vsi >out

mount -o remount,size=4M small
guest disk --memory 16M --disk-temporary filled.raw \
	--append 'check zero sum fill'
says 'as filled'
says 'sum 0'
says 'write fails: 1'
errs 'No space left on device'
cmp exported.raw filled.raw
[ -z "$(ls -A small/layers)" ] || fail "left: $(ls small/layers)"

# A raw file that is cut while the guest runs: what is gone can't be read, what
# is written is there again.
cp filled.raw cut.raw
vmsnap run cut --kernel "$BUILD/tests/kvm/disk.elf" --memory 16M \
	--disk cut.raw --in-place --append 'wait sum wait fill check'
until_true log_has cut '^waiting'
truncate -s 8M cut.raw
key() {
	timeout 60 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("home/machines/%s/console.sock" % sys.argv[1])
s.sendall(b"x")' "$1"
}
key cut
until_true log_has cut '^read fails from 16384 on'
until_true grep -q 'a read failed at byte' home/machines/cut/agent.log
key cut
until_true log_has cut '^as filled'
cmp cut.raw filled.raw
vmsnap rm --force cut

# The server of a foreign disk dies: reads fail, and nothing else.
if command -v qemu-img >/dev/null; then
	qemu-img convert -O qcow2 filled.raw disk.qcow2
	mount -o remount,size=24M small
	vmsnap run foreign --kernel "$BUILD/tests/kvm/disk.elf" --memory 16M \
		--disk disk.qcow2 --append 'wait sum zero fill check'
	until_true log_has foreign '^waiting'
	kill -9 "$(pgrep -f "^qemu-nbd .*$TMP/disk.qcow2")"
	key foreign
	until_true log_has foreign '^read fails from 0 on'
	until_true log_has foreign '^as filled'
	vmsnap rm --force foreign
fi

# A block device: its discards reach what lies beneath.
cp filled.raw beneath.raw
loop=$(losetup -f --show beneath.raw 2>/dev/null) || loop=
if [ -n "$loop" ]; then
	guest disk --memory 16M --disk "$loop" --append 'check trim sum fill check'
	says 'trim: 0'
	says 'sum 0'
	guest disk --memory 16M --disk "$loop" --append 'zero sum flush'
	says 'zero: 0'
	says 'sum 0'
	says 'flush: 0'
fi
