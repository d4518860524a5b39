# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A live image behind the NBD door, attached as a block device, its ext4 mounted
# at ./mnt; sourced after tests/cli/lib.sh, which it needs. Who sources it calls
# detach, and ends $server, when it exits.

for tool in nbdkit nbdinfo mkfs.ext4 e2fsck; do
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
	"$VMSNAP" nbd --image "$1" --writable --socket "$TMP/sock" \
		>nbd-out 2>nbd-err &
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
