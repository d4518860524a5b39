#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The second reader restores, byte for byte, what the command has stored.
set -eu

cd "$TMP"
. "$TOP/tests/ref/lib.sh"
needs_command

# A disk with random and repeated content, holes, and a short last chunk.
head -c 5000000 /dev/urandom >disk.0
yes "all work and no play" | head -c 7000003 >>disk.0 || true
truncate -s 24000000 disk.0
head -c 3000777 /dev/urandom >>disk.0

# Next generations: a change inside, a hole punched, a longer disk, a shorter.
cp disk.0 disk.1
head -c 70000 /dev/urandom | dd of=disk.1 bs=1000 seek=2500 conv=notrunc \
	status=none
head -c 2000000 /dev/zero | dd of=disk.1 bs=1000 seek=6000 conv=notrunc \
	status=none
cp disk.1 disk.2
head -c 123457 /dev/urandom >>disk.2
head -c 20000001 disk.2 >disk.3

generations() {
	export VMSNAP_STORE="$TMP/store"
	rm -rf store
	"$VMSNAP" init "$@" >out 2>&1 || { cat out; fail "init $*"; }
	for g in 0 1 2 3; do
		cp disk.$g current
		"$VMSNAP" backup vm --label g$g "disk0=$TMP/current" \
			"second=$TMP/disk.0" >out 2>&1 ||
			{ cat out; fail "backup $g ($*)"; }
	done
	: >empty
	truncate -s 10000000 zeros
	printf x >byte
	"$VMSNAP" backup odd "empty=$TMP/empty" "zeros=$TMP/zeros" \
		"byte=$TMP/byte" >out 2>&1 || { cat out; fail "odd ($*)"; }
	"$python" "$ref/read.py" store check --tags >out 2>&1 ||
		{ cat out; fail "check ($*)"; }
	for g in 0 1 2 3; do
		"$python" "$ref/read.py" store restore vm@g$g:disk0 got
		cmp got disk.$g || fail "generation $g differs ($*)"
		"$python" "$ref/read.py" store restore vm@g$g:second got
		cmp got disk.0 || fail "second disk of $g differs ($*)"
	done
	for name in empty zeros byte; do
		"$python" "$ref/read.py" store restore odd:$name got
		cmp got $name || fail "$name differs ($*)"
	done
}

unset VMSNAP_PASSPHRASE
generations --plaintext
generations --plaintext --chunk-size 16K
generations --plaintext --chunk-size 4M
export VMSNAP_PASSPHRASE="correct horse"
generations
generations --chunk-size 256K
rc=0
VMSNAP_PASSPHRASE=wrong "$python" "$ref/read.py" store list 2>out || rc=$?
[ "$rc" = 7 ] || fail "wrong passphrase: exit $rc, not 7"
