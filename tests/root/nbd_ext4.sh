#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real ext4 on a live image behind the NBD door: written to, made a snapshot
# of, several times; each snapshot is clean, and holds what was written until
# then. Then the server is killed while files are written and synced: the file
# system recovers by its journal, and what was synced is there.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin

command -v debugfs >/dev/null || skip "no debugfs"
. "$TOP/tests/root/lib_attach.sh"

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
