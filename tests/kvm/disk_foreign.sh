#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks in formats of others, which qemu-nbd reads for the machine: the guest
# reads what is in them, writes to a throw-away layer that outlives its reset
# and not its end, and qemu-nbd ends with the agent. A raw disk is never looked
# at again. What stands in other files too is refused.
. "$TOP/tests/kvm/lib.sh"

command -v qemu-img >/dev/null && command -v qemu-nbd >/dev/null || {
	echo "needs qemu-img and qemu-nbd (qemu-utils)"
	exit 77
}
export VMSNAP_HOME=$TMP/home
mkdir home
kernel=$BUILD/tests/kvm/disk.elf
vmsnap() { timeout --kill-after=10 120 "$BUILD/vmsnap" "$@" >out 2>err; }
# expect CODE VERB...: and what it says.
expect() {
	local want=$1 code=0
	shift
	vmsnap "$@" </dev/null || code=$?
	[ "$code" = "$want" ] || fail "$* ended with $code: $(cat err)"
}
# Started in the foreground, to its end.
runs() { expect 0 run "$@" --foreground --memory 16M; }
trap '"$BUILD/vmsnap" rm --force --all >/dev/null 2>&1 || true' EXIT
servers() { pgrep -f "^qemu-nbd .*$TMP/" || true; }
# A process that has ended is no file of /proc's; or a zombie without a command.
no_servers() {
	for _ in $(seq 600); do
		[ -n "$(servers)" ] || return 0
		read -rt 0.1 <> <(:) || true
	done
	fail "qemu-nbd is left: $(servers)"
}

head -c 3M /dev/urandom >some
cat some >disk.raw
truncate -s 9M disk.raw
cat some >>disk.raw
sum=$(python3 -c '
import struct, sys
data = open("disk.raw", "rb").read()
print("%x" % (sum(w for (w,) in struct.iter_unpack("<Q", data)) % 2 ** 64))')

for format in qcow2 vmdk vhdx vdi; do
	qemu-img convert -O $format disk.raw "disk.$format"
	cp "disk.$format" before
	chmod 400 "disk.$format"
	runs "m-$format" --kernel "$kernel" --disk "disk.$format" \
		--append "sum fill again check flush id"
	says 'disk of 24576 sectors'
	says "sum $sum"
	says 'filled'
	says 'again'
	says 'as filled'
	says 'flush: 0'
	cmp "disk.$format" before
	[ "$(jq -r '.disks[0].format' "home/machines/m-$format/machine.json")" = \
		$format ] || fail "$format is described otherwise"
	# And again, all fresh.
	expect 0 run "m-$format" --foreground
	says "sum $sum"
	expect 0 rm "m-$format"
done
no_servers

# Two machines on one file; one is killed, one stopped.
for name in one two; do
	expect 0 run $name --kernel "$kernel" --memory 16M --disk disk.qcow2 \
		--append wait
done
[ "$(servers | wc -l)" = 2 ] || fail "not two of them: $(servers)"
kill -9 "$(cat home/machines/one/agent.pid)"
expect 0 stop --force two
no_servers
expect 0 rm one two

# In place it is refused; and so is what it can't be.
expect 6 run web --kernel "$kernel" --disk disk.qcow2 --in-place
grep -q 'qemu-img convert' err || fail "$(cat err)"
qemu-img create -q -f qcow2 -b disk.raw -F raw over.qcow2
expect 6 run web --kernel "$kernel" --disk over.qcow2
grep -q 'part of a chain' err || fail "$(cat err)"
qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M
expect 6 run web --kernel "$kernel" --disk flat.vmdk
head -c 4096 disk.qcow2 >cut.qcow2
printf '\377' | dd of=cut.qcow2 bs=1 seek=20 conv=notrunc status=none
expect 1 run web --kernel "$kernel" --disk cut.qcow2
grep -q 'qemu-nbd: ' err || fail "$(cat err)"

code=0
PATH=$TMP/home "$BUILD/vmsnap" run web --kernel "$kernel" --disk disk.qcow2 \
	>out 2>err || code=$?
[ "$code" = 6 ] && grep -q 'package qemu-utils' err || fail "$code: $(cat err)"

# A guest writes another format's first bytes to its raw disk: raw it stays.
truncate -s 8M guest.raw
expect 0 run raw --kernel "$kernel" --memory 16M --disk guest.raw --in-place \
	--append wait
expect 0 stop --force raw
dd if=over.qcow2 of=guest.raw conv=notrunc status=none
expect 0 run raw
expect 0 stop --force raw
expect 0 rm raw
expect 6 run raw --kernel "$kernel" --disk guest.raw
# What a format of others names is not read, said or not, first or later.
expect 2 run liar --kernel "$kernel" --disk disk.raw --disk-format vmdk
qemu-img create -q -f qcow2 -F raw -b disk.raw over.qcow2
expect 6 run liar --kernel "$kernel" --disk over.qcow2 --disk-format qcow2
cp disk.qcow2 swapped.qcow2
runs swapped --kernel "$kernel" --disk swapped.qcow2 --append sum
cp over.qcow2 swapped.qcow2
expect 6 run swapped
runs raw --kernel "$kernel" --disk guest.raw --disk-format raw --append sum
says 'disk of 16384 sectors'
no_servers
