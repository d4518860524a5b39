# SPDX-License-Identifier: Apache-2.0
# The demo's doors to a disk: attached over NBD, mounted from the store, each in
# the best way that this machine has. Sourced by tests/demo.

server= fuse= is_mounted=

have_fuse() {
	[ -r /dev/fuse ] && [ -w /dev/fuse ] && command -v fusermount3 >/dev/null
}
have_loop() { [ "$(id -u)" = 0 ] && [ -e /dev/loop-control ]; }

# until_true COMMAND...: waits for an event, at most a minute.
until_true() {
	local i
	for ((i = 0; i < 600; i++)); do
		! "$@" 2>/dev/null || return 0
		sleep 0.1
	done
	echo "demo: waited in vain for: $*" >&2
	return 1
}

# What a demo that was broken off has still open.
close_doors() {
	! mountpoint -q "$place/mnt" || umount "$place/mnt" || :
	[ -z "$fuse" ] || fusermount3 -u -z "$place/attached" || :
	[ -z "$is_mounted" ] || fusermount3 -u -z "$place/snapshots" || :
	[ -z "$server" ] || kill "$server" || :
	wait
}

serve_clone() {
	local words=(nbd --image "$place/clone.vsi" --writable
		--socket "$place/nbd.sock")
	shows "${words[@]} &"
	"$vmsnap" "${words[@]}" >"$place/nbd-out" &
	server=$!
	uri="nbd+unix:///?socket=$place/nbd.sock"
	until_true grep -q serving "$place/nbd-out"
	sed "s,$place/,," "$place/nbd-out"
}
stop_server() {
	kill "$server"
	wait "$server"
	server=
}

# says COMMAND...: shows it as it is typed, and does it.
says() {
	printf '$ %s\n' "${*//$place\//}"
	"$@"
}

# Of a disk, with debugfs: an ext4 in it need not be mounted.
write_with_debugfs() {
	local disk=$1
	says debugfs -w -R "write $place/finding finding" "$disk" 2>&1 |
		grep -v '^debugfs\|^Allocated'
	says debugfs -w -R "write $place/core core" "$disk" 2>&1 |
		grep -v '^debugfs\|^Allocated'
	says debugfs -w -R "rm usr/bin/perl" "$disk" 2>&1 |
		grep -v '^debugfs'
}

# A file system writes whole sectors, as the door wants it; debugfs does not.
change_clone() {
	mkdir -p "$place/attached" "$place/mnt"
	if ! have_fuse || ! have_loop; then
		echo "(can't mount here: changed in a copy, and copied back)"
		says nbdcopy "$uri" "$place/copy.raw"
		write_with_debugfs "$place/copy.raw"
		says nbdcopy --flush "$place/copy.raw" "$uri"
		return
	fi
	says nbdfuse "$place/attached/disk" "$uri" &
	fuse=$!
	until_true test -s "$place/attached/disk"
	says mount -o loop "$place/attached/disk" "$place/mnt"
	says cp "$place/finding" "$place/core" "$place/mnt/"
	says rm "$place/mnt/usr/bin/perl"
	says umount "$place/mnt"
	says fusermount3 -u "$place/attached"
	wait "$fuse"
	fuse=
}

# one_file_out NAME/LABEL FILE OUT
one_file_out() {
	local disk=$place/snapshots/$1/disk0.raw
	mkdir -p "$place/snapshots"
	if have_fuse; then
		shows mount "$place/snapshots"
		"$vmsnap" mount "$place/snapshots"
		is_mounted=yes
		(cd "$place" && says find snapshots -name '*.raw')
	else
		disk=$place/one.raw
		shows restore "${1/\//@}" "$disk"
		"$vmsnap" restore "${1/\//@}" "$disk"
	fi
	if have_loop; then
		says mount -o ro,noload,loop "$disk" "$place/mnt"
		says cp "$place/mnt/$2" "$3"
		says umount "$place/mnt"
	else
		says debugfs -R "dump $2 $3" "$disk" 2>&1 | grep -v '^debugfs'
	fi
	[ -z "$is_mounted" ] || says fusermount3 -u "$place/snapshots"
	is_mounted=
}
