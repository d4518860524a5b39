#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How kvm-agent ends: each kind of mistake has its status, and its words.
. "$TOP/tests/kvm/lib.sh"

expect() {
	local wanted=$1 status=0
	shift
	agent "$@" >"$TMP/out" 2>"$TMP/err" </dev/null || status=$?
	[ "$status" = "$wanted" ] || {
		cat "$TMP/out" "$TMP/err" >&2
		fail "exit status $status, not $wanted: $*"
	}
}
kernel=$BUILD/tests/kvm/hello.elf

expect 0 --help
grep -q -- '--kernel FILE' "$TMP/out" || fail "no help"
expect 0 --version
expect 2
errs 'which kernel'
expect 2 --kernel "$kernel" --memory 5X
expect 2 --kernel "$kernel" --memory 17T
expect 2 --kernel "$kernel" --cpus 0
expect 2 --kernel "$kernel" --cpus 65
expect 2 --kernel "$kernel" --cpu z80
errs 'x86-64-v2'
expect 2 --kernel "$kernel" more
expect 4 --kernel "$TMP/absent"
errs "open '.*absent'"
expect 1 --kernel "$kernel" --memory 3M
errs 'multiple of 2 MiB'
expect 1 --kernel "$kernel" --append "$(printf 'x%.0s' {1..4096})"
errs 'command line'

# What is no kernel, and one that was cut off.
head -c 100000 /dev/zero >zeros
expect 1 --kernel zeros
head -c 20000 "$kernel" >cut
expect 1 --kernel cut
errs 'cut off'
: >empty
expect 1 --kernel empty
expect 1 --kernel "$TMP"

# Disks that are damaged: an image's layer, which may still be read, and what is
# no image. No bytes of a keeper's are a disk.
"$BUILD/vmsnap" image create -q a.vsi --size 8M
dd if=zeros of=a.vsi.1 bs=16K count=1 conv=notrunc status=none
expect 3 --kernel "$kernel" --disk a.vsi
errs "a.vsi' is damaged"
expect 0 --kernel "$kernel" --disk-ro a.vsi
expect 0 --kernel "$kernel" --disk-temporary a.vsi
cp zeros a.vsi
for use in --disk --disk-ro --disk-temporary; do
	expect 3 --kernel "$kernel" $use a.vsi
	errs "a.vsi' is not an image"
done
expect 1 --kernel "$kernel" --keeper "$TMP" --grants-fd 9 9<empty
errs 'grants: 0 bytes'
head -c 208 zeros >grant
expect 1 --kernel "$kernel" --keeper "$TMP" --grants-fd 9 9<grant
errs 'no grant'

# An initrd that RAM has no room for.
head -c 3M /dev/zero >big
expect 1 --kernel "$kernel" --initrd big --memory 2M
errs 'more --memory'

# No output's reader: the guest and the agent come to their end.
status=0
agent --kernel "$kernel" </dev/null 2>"$TMP/err" | : || status=$?
[ "$status" -lt 128 ] || fail "died of a signal"

# A guest that waits for ever is ended from outside, and says nothing.
"$BUILD/kvm-agent" --kernel "$BUILD/tests/kvm/idle.elf" </dev/null >out 2>err &
pid=$!
for ((i = 0; i < 1200; i++)); do
	grep -q idle out && break
	sleep 0.05
done
kill -TERM $pid
wait $pid || fail "exit status $? after SIGTERM"
[ ! -s err ] || fail "$(cat err)"
