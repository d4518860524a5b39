#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A full disk under the store: a clear end, nothing hurt, then it goes on.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

mkdir mnt
mount -t tmpfs -o size=12M tmpfs mnt 2>/dev/null || skip "can't mount a tmpfs here"
trap 'umount mnt || :' EXIT
export VMSNAP_STORE=$TMP/mnt/store
vmsnap init -q
disk a.raw 3000000 1
vmsnap backup -q a a.raw
head -c 40000000 /dev/urandom >big.raw
expect 1 vmsnap backup big big.raw
errs 'o space left'
expect 4 vmsnap show big
expect 0 vmsnap verify a
expect 0 vmsnap restore a out.raw
same a.raw out.raw
expect 0 vmsnap check --read-data
mount -o remount,size=120M mnt
expect 0 vmsnap backup big big.raw
expect 0 vmsnap restore big --force out.raw
same big.raw out.raw
expect 0 vmsnap check --read-data
# A target on a full disk, and temporaries with no room.
mount -o remount,size=60M mnt
expect 1 vmsnap restore big mnt/out.raw
errs 'o space left'
[ ! -e mnt/out.raw ]
rm -f mnt/out.raw.vmsnap-partial
dd if=/dev/zero of=mnt/fill bs=1M 2>/dev/null || :
vmsnap -s "$TMP/other" init -q
TMPDIR=$TMP/mnt HOME=$TMP/mnt expect 0 vmsnap -s "$TMP/other" backup a a.raw
TMPDIR=$TMP/mnt HOME=$TMP/mnt expect 0 vmsnap -s "$TMP/other" verify a
