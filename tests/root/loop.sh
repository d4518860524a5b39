#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Block devices: backup from, restore onto; a mounted one is warned of and refused.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

export PATH=$PATH:/usr/sbin:/sbin
truncate -s 16M a.img
mkfs.ext4 -q -F a.img 2>/dev/null || skip "no mkfs.ext4"
loop=$(losetup -f --show a.img 2>/dev/null) || skip "no loop devices here"
trap 'umount mnt 2>/dev/null || :; losetup -d $loop || :' EXIT
vmsnap init -q
expect 0 vmsnap backup --json vm "$loop"
silent err
holds "d['logical_bytes'] == 16777216"
expect 0 vmsnap restore vm out.raw
same a.img out.raw
# Onto the device: only by --force, and then exactly.
dd if=/dev/urandom of="$loop" bs=1M count=16 status=none
sync
expect 1 vmsnap restore vm "$loop"
errs '--force'
expect 0 vmsnap restore vm "$loop" --force
cmp "$loop" out.raw
poke "$loop" 1000000 rubbish
expect 0 vmsnap restore vm "$loop" --force --delta --json
cmp "$loop" out.raw
holds "d['written_bytes'] <= 65536"
truncate -s 20M large.raw
vmsnap backup -q large large.raw
expect 1 vmsnap restore large "$loop" --force
cmp "$loop" out.raw
mkdir mnt
mount "$loop" mnt || skip "can't mount here"
expect 0 vmsnap backup vm "$loop"
errs 'warning: .*mounted'
expect 5 vmsnap restore vm "$loop" --force
errs 'mounted'
expect 5 vmsnap restore vm "$loop" --force --delta
umount mnt
# Mounted where only another mount namespace sees it: the kernel still tells.
mkfifo go gone
unshare -m sh -c 'mount "$1" mnt && echo >go && read -r _ <gone' sh "$loop" &
elsewhere=$!
if read -r -t 20 _ <>go; then
	expect 5 vmsnap restore vm "$loop" --force
	errs 'in use'
	expect 0 vmsnap backup vm "$loop"
	errs 'warning: .*in use'
	echo >gone
	wait $elsewhere
	expect 0 vmsnap restore vm "$loop" --force
	silent err
fi
