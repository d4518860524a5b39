#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The mount: all snapshots as files, while they come and go; ten readers; ends
# in every way; a killed one can be taken off and mounted again.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

[ -x "$BUILD/vmsnap-mount" ] || skip "no vmsnap-mount in this build"
[ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "no /dev/fuse here"
command -v fusermount3 >/dev/null || skip "no fusermount3"
vmsnap init -q
disk a.raw 5000001 1
disk b.raw 3000000 2
truncate -s 12M b.raw
vmsnap backup -q web a.raw
vmsnap backup -q web a.raw b.raw --label two
mkdir mnt
expect 0 vmsnap mount mnt || skip "can't mount here"
trap 'fusermount3 -q -u -z "$TMP/mnt" || :' EXIT
says 'mounted on mnt'
mounted() { mountpoint -q mnt; }
unmounted() { ! mountpoint -q mnt; }
mounted || fail "it answered, but nothing is mounted"

# Names, content, sizes, times.
[ "$(ls mnt)" = web ] || fail "names: $(ls mnt)"
[ "$(ls mnt/web | wc -l)" = 2 ] || fail "snapshots: $(ls mnt/web)"
[ "$(ls mnt/web/two)" = $'disk0.raw\ndisk1.raw' ] || fail "$(ls mnt/web/two)"
first=$(ls mnt/web | grep -v two)
[[ $first =~ ^20..-..-..T..-..-..Z$ ]] || fail "the time is '$first'"
same a.raw mnt/web/two/disk0.raw
same b.raw mnt/web/two/disk1.raw
same a.raw "mnt/web/$first/disk0.raw"
[ "$(stat -c %s mnt/web/two/disk1.raw)" = 12582912 ] || fail "size"
time=$(date -u -d "@$(stat -c %Y "mnt/web/$first/disk0.raw")" +%Y-%m-%dT%H-%M-%SZ)
[ "$time" = "$first" ] || fail "mtime $time of '$first'"
# 5000001 once, then again with 12 MiB: in blocks of 4096, none of them free.
[ "$(stat -f -c '%b %f %S' mnt)" = "$(((2 * 5000001 + 12582912 + 4095) / 4096)) 0 4096" ] ||
	fail "statfs: $(stat -f mnt)"
# Holes are told.
python3 - <<-'P'
	import os
	fd = os.open("mnt/web/two/disk1.raw", os.O_RDONLY)
	hole = os.lseek(fd, 3100000, os.SEEK_HOLE)
	assert 3000000 <= hole <= 3100000 + 65536, hole
	try:
	    assert False, os.lseek(fd, 4000000, os.SEEK_DATA)
	except OSError:
	    pass
	assert os.lseek(fd, 0, os.SEEK_DATA) < 3000000
	def blocks(path):
	    # Chunks of 64 KiB that hold any data; the last one is cut.
	    data = open(path, "rb").read()
	    return sum(-(-len(chunk) // 512) for chunk in
	               (data[at:at + 65536] for at in range(0, len(data), 65536))
	               if any(chunk))
	for path, plain in (("mnt/web/two/disk0.raw", "a.raw"),
	                    ("mnt/web/two/disk1.raw", "b.raw")):
	    told = os.stat(path).st_blocks
	    assert told == blocks(plain) > 0, (path, told, blocks(plain))
	assert os.stat("mnt/web/two/disk1.raw").st_blocks < 3000000 // 512
P

# Read-only, and no such thing.
! : 2>/dev/null >mnt/new || fail "a file was made"
! dd if=/dev/zero of=mnt/web/two/disk0.raw bs=1 count=1 conv=notrunc 2>/dev/null ||
	fail "it was written to"
! rm -f mnt/web/two/disk0.raw 2>/dev/null || fail "it was removed"
[ ! -e mnt/web/three ] && [ ! -e mnt/nobody ] || fail "there are more"

# Not twice.
expect 5 vmsnap mount mnt
errs 'already'

# Ten readers at once, past the page cache of the first pass.
pids=
for n in 1 2 3 4 5 6 7 8 9 10; do
	cmp a.raw "mnt/web/$([ $((n % 2)) = 0 ] && echo two || echo "$first")/disk0.raw" &
	pids+=" $!"
done
for pid in $pids; do wait "$pid" || fail "a reader read something else"; done

# A snapshot more, of new content, while mounted; one goes.
disk c.raw 2000000 3
vmsnap backup -q db c.raw --label new
until_true test -e mnt/db/new/disk0.raw
same c.raw mnt/db/new/disk0.raw
[ "$(ls mnt)" = $'db\nweb' ] || fail "names: $(ls mnt)"
expect 0 vmsnap show db@new --json
id=$(json "d.get('id') or d['snapshots'][0]['id']")
mv "store/snapshots/$id" gone
vanished() { ! stat mnt/db/new/disk0.raw >/dev/null 2>&1; }
until_true vanished
! cat mnt/db/new/disk0.raw >/dev/null 2>&1 || fail "it can still be opened"
[ "$(ls mnt)" = web ] || fail "the name is still there"
mv gone "store/snapshots/$id"
until_true test -e mnt/db/new/disk0.raw

# Unmounted, the process ends.
server() { pgrep -f "vmsnap-mount .*-- $TMP/store" || :; }
[ -n "$(server)" ] || fail "no process serves"
idle() { [ -z "$(server)" ]; }
fusermount3 -u mnt
until_true unmounted
until_true idle
# By a signal.
expect 0 vmsnap mount mnt -q
silent out
mounted || fail "not mounted"
kill "$(server)"
until_true unmounted
until_true idle
# In the foreground; told to end, it has done its work.
for signal in TERM INT; do
	env --default-signal=INT "$VMSNAP" mount mnt --foreground >fg 2>&1 &
	pid=$!
	until_true mounted
	same c.raw mnt/db/new/disk0.raw
	kill -$signal $pid
	wait $pid || fail "SIG$signal: exit status $?"
	until_true unmounted
done
# Killed while it is read: an error and no hang; off; and on again.
expect 0 vmsnap mount mnt --json
pid=$(json "d['pid']")
exec 3<mnt/web/two/disk1.raw
kill -9 "$pid"
until_true idle
! head -c 5000000 <&3 >/dev/null 2>&1 || fail "who reads?"
exec 3<&-
expect 5 vmsnap mount mnt
errs 'fusermount3 -u'
fusermount3 -u -z mnt
unmounted || fail "it is still there"
expect 0 vmsnap mount mnt
same a.raw mnt/web/two/disk0.raw
# In use when it ends: it comes off all the same.
exec 3<mnt/web/two/disk1.raw
kill "$(server)"
until_true unmounted
exec 3<&-
until_true idle

# What goes wrong.
expect 1 vmsnap mount a.raw
errs 'Not a directory'
expect 4 vmsnap mount nowhere
expect 7 env VMSNAP_PASSPHRASE=wrong "$VMSNAP" mount mnt
expect 4 "$VMSNAP" -s nostore mount mnt
expect 2 vmsnap mount
unmounted || fail "something is mounted"
# The passphrase stands in nobody's argv or environment.
expect 0 vmsnap mount mnt
for pid in $(server); do
	! tr '\0' '\n' <"/proc/$pid/environ" | grep -q 'correct horse' || fail "environ"
	! tr '\0' '\n' <"/proc/$pid/cmdline" | grep -q 'correct horse' || fail "argv"
done
fusermount3 -u mnt
until_true idle

# One file out of a disk, as the README says; and a plain user's own mount.
export PATH=$PATH:/usr/sbin:/sbin
mkdir src disk
echo 'a file' >src/fstab
truncate -s 8M part
mkfs.ext4 -q -F -d src part 2>/dev/null || skip "no mkfs.ext4: the rest is good"
truncate -s 10M table.raw
dd if=part of=table.raw bs=1M seek=1 conv=notrunc status=none
vmsnap backup -q table table.raw --label l
expect 0 vmsnap mount mnt
if mount -o "ro,noload,loop,offset=1048576" mnt/table/l/disk0.raw disk 2>/dev/null; then
	same src/fstab disk/fstab
	umount disk
fi
fusermount3 -u mnt
until_true idle
command -v setpriv >/dev/null || exit 0
mkdir user
chmod 777 "$TMP" user
cp "$VMSNAP" "$BUILD/vmsnap-mount" .
chmod 755 vmsnap vmsnap-mount
cat >user.sh <<-'E'
	set -e
	cd user
	export VMSNAP_STORE=$PWD/store
	../vmsnap init -q
	../vmsnap backup -q web ../table.raw --label l
	mkdir m
	../vmsnap mount m -q
	cmp ../table.raw m/web/l/disk0.raw
	fusermount3 -u m
E
chmod 644 table.raw user.sh
setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups test -r user.sh ||
	exit 0
# The device may be root's alone here: the user gets one in a namespace. In a
# chroot there is none to be had.
unshare -m true 2>/dev/null || skip "no mount namespace here: the rest is good"
mknod -m 666 fuse c 10 229 2>/dev/null || exit 0
unshare -m bash -ec 'mount --bind fuse /dev/fuse
	setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups \
		bash user.sh' || fail "a plain user can't mount"
