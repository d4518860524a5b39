#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real ext4 on a live image behind the NBD door: written to, made a snapshot
# of, several times; each snapshot is clean, and holds what was written until
# then. Then the server is killed while files are written and synced: the file
# system recovers by its journal, and what was synced is there.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin

for tool in nbdkit nbdinfo mkfs.ext4 e2fsck debugfs; do
	command -v $tool >/dev/null || skip "no $tool"
done
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
[ "$(id -u)" = 0 ] || skip "must be root to mount"

# Two ways to a block device: the kernel's client, or a file in FUSE and a loop.
door=
modprobe nbd 2>/dev/null || :
if command -v nbd-client >/dev/null && [ -b /dev/nbd0 ]; then
	door=kernel
elif command -v nbdfuse >/dev/null && [ -w /dev/fuse ]; then
	door=fuse
else
	skip "neither the kernel's nbd module nor nbdfuse"
fi

server= fuse= device=
uri="nbd+unix:///?socket=$TMP/sock"
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
has_disk() { [ -s fuse/disk ]; }
serve() {
	"$VMSNAP" nbd --image "$1" --writable --socket "$TMP/sock" 2>nbd-err &
	server=$!
	until_true ready
}
attach() {
	serve "$1"
	if [ $door = kernel ]; then
		device=/dev/nbd0
		nbd-client -unix "$TMP/sock" $device >/dev/null 2>&1
	else
		nbdfuse fuse/disk "$uri" 2>fuse-err &
		fuse=$!
		until_true has_disk
		device=$(losetup -f --show fuse/disk) || return 1
	fi
	mount -t ext4 $device mnt
}
# What is still there of it, in any state.
detach() {
	! mountpoint -q mnt || umount mnt || umount -l mnt
	[ -z "$device" ] || if [ $door = kernel ]; then
		nbd-client -d $device >/dev/null 2>&1
	else
		losetup -d "$device"
	fi
	device=
	if [ -n "$fuse" ]; then
		fusermount3 -u fuse 2>/dev/null || umount -l fuse
		wait $fuse || :
		fuse=
	fi
}
stop() {
	kill "$server"
	wait "$server" || fail "the server ended with $?: $(cat nbd-err)"
	server=
}
cleanup() {
	detach 2>/dev/null || :
	[ -z "$server" ] || kill -9 "$server" 2>/dev/null || :
	wait || :
}
trap cleanup EXIT

mkdir mnt fuse src
for n in 1 2 3; do disk src/$n 1000000 $n; done
truncate -s 96M disk.raw
mkfs.ext4 -q -F -d src disk.raw
vmsnap init -q
vmsnap backup -q base disk.raw
vmsnap image create -q disk.vsi --from base
attach disk.vsi 2>err || { cat err fuse-err >&2; skip "can't attach and mount here"; }
diff -r -x lost+found src mnt || fail "the files are not those of the base"
detach
stop

# Written, synced, detached, a snapshot; the next goes on.
write_round() {
	disk "mnt/file-$1" $((2000000 + $1 * 4096)) "$1"
	dd if=/dev/urandom of=mnt/log bs=64k count=8 oflag=append \
		conv=notrunc,fsync status=none
	mkdir "mnt/dir-$1"
	for n in 1 2 3 4 5 6 7 8; do echo "$1 $n" >"mnt/dir-$1/$n"; done
	[ ! -e "mnt/dir-$(($1 - 2))" ] || rm -r "mnt/dir-$(($1 - 2))"
	sync -f mnt
	fstrim mnt 2>/dev/null || :
	(cd mnt && find . -type f -exec sha256sum {} + | sort -k2) >"sums-$1"
}
for round in 1 2 3 4; do
	attach disk.vsi
	write_round $round
	detach
	stop
	vmsnap image snapshot -q disk.vsi web --label "round-$round"
	expect 0 vmsnap image check disk.vsi
done
for round in 1 2 3 4; do
	vmsnap restore -q "web@round-$round" out.raw
	e2fsck -fn out.raw >fsck 2>&1 || fail "round $round: $(cat fsck)"
	mount -o ro,noload,loop out.raw mnt
	(cd mnt && sha256sum --quiet -c "$TMP/sums-$round") ||
		fail "round $round: other files"
	umount mnt
	rm out.raw
done

# A clone of a snapshot in the middle, killed while it is written to.
for round in 1 2 3; do
	rm -f clone.vsi*
	vmsnap image create -q clone.vsi --from "web@round-$round"
	attach clone.vsi
	: >synced
	(
		for ((n = 0; ; n++)); do
			head -c $((n % 7 * 9000 + 100)) /dev/urandom >"mnt/new-$n" &&
				sync "mnt/new-$n" mnt &&
				sha256sum "mnt/new-$n" >>synced || exit 0
		done
	) 2>/dev/null &
	writer=$!
	enough() { [ "$(wc -l <synced)" -ge $((round * 15)) ]; }
	until_true enough
	kill -9 "$server"
	wait "$server" 2>/dev/null || :
	server=
	wait $writer || :
	detach 2>/dev/null
	count=$(wc -l <synced)
	serve clone.vsi
	nbdcopy "$uri" clone.raw
	stop
	e2fsck -fp -E journal_only clone.raw >fsck 2>&1 || [ $? = 1 ] ||
		fail "its journal: $(cat fsck)"
	e2fsck -fn clone.raw >fsck 2>&1 || fail "killed: $(cat fsck)"
	mount -o ro,noload,loop clone.raw mnt
	sha256sum --quiet -c synced || fail "of $count synced files some are lost"
	umount mnt
	rm clone.raw
done
