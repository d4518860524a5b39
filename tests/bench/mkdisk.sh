#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The real disks of the benchmarks and the demo.
#
#   mkdisk.sh DIR            base.raw, gen1.raw, gen2.raw: three generations of
#                            one Debian disk (8 GiB sparse each)
#   mkdisk.sh --small DIR [PACKAGE,...]
#                            small.raw: a Debian minbase and these, or without
#                            network this machine's own /usr (at most 700 MB)
#   mkdisk.sh --change FILE  changes the file system in FILE in place
#
# gen1 is base with more packages installed *in place*, gen2 is gen1 after
# churn, so that the generations share their layout as a real disk's do. This
# is done on a loop mount where that can be had, else with debugfs. What exists
# is kept. VMSNAP_DEBIAN_MIRROR names another mirror.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mirror=${VMSNAP_DEBIAN_MIRROR:-http://deb.debian.org/debian}
size=8G
base_packages=linux-image-cloud-amd64,python3,git,gcc,openssh-server
gen1_packages="postgresql nginx golang"
export PATH=$PATH:/usr/sbin:/sbin

say() { echo "mkdisk: $*" >&2; }
die() {
	say "$*"
	exit 1
}

scratch=
cleanup() {
	[ -z "$scratch" ] || rm -rf --one-file-system "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

make_scratch() {
	[ -n "$scratch" ] || scratch=$(mktemp -d "$1/.mkdisk.XXXXXX")
}

# Loop mounts are made in a mount namespace of their own, which takes them
# with it however the script ends.
have_loop() {
	[ "$(id -u)" = 0 ] || return 1
	unshare -m true 2>/dev/null || return 1
	unshare -m mount -o loop,ro,noload "$1" /mnt 2>/dev/null
}

# debootstrap TREE PACKAGES [VARIANT]
debian_tree() {
	mmdebstrap --quiet --variant="${3:-important}" \
		${2:+--include="$2"} \
		--aptopt='Acquire::Retries "2"' \
		--aptopt='Acquire::http::Timeout "20"' \
		bookworm "$1" \
		"deb $mirror bookworm main" \
		"deb ${mirror%/debian}/debian-security bookworm-security main"
}

# A file system of which only what is used is data: no table is zeroed ahead.
make_fs() {
	local file=$1 tree=$2
	rm -f "$file"
	truncate -s "$size" "$file"
	mkfs.ext4 -q -F -d "$tree" -U 76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0001 \
		-E hash_seed=76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0002 \
		-E lazy_itable_init=1,nodiscard \
		"$file"
}

copy_disk() {
	cp --sparse=always --reflink=auto "$1" "$2"
}

install_in_place() {
	if have_loop "$1"; then
		unshare -m bash -euo pipefail -s "$1" "$gen1_packages" <<'INNER' || return 1
mount -o loop,noinit_itable "$1" /mnt
mount -t proc proc /mnt/proc
mount --bind /dev /mnt/dev
mount -t tmpfs tmpfs /mnt/var/cache/apt
mount -t tmpfs tmpfs /mnt/var/lib/apt
mount -t tmpfs tmpfs /mnt/tmp
mkdir -p /mnt/var/cache/apt/archives/partial /mnt/var/lib/apt/lists/partial
mount -t tmpfs tmpfs /mnt/run
cp /etc/resolv.conf /mnt/run/resolv.conf
touch /mnt/etc/resolv.conf
mount --bind /mnt/run/resolv.conf /mnt/etc/resolv.conf
printf '#!/bin/sh\nexit 101\n' >/mnt/usr/sbin/policy-rc.d
chmod 755 /mnt/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot /mnt apt-get -q update >/mnt/run/log 2>&1 &&
	chroot /mnt apt-get -q -y --no-install-recommends install $2 \
		>>/mnt/run/log 2>&1 || { tail -20 /mnt/run/log >&2; exit 1; }
rm /mnt/usr/sbin/policy-rc.d
sync -f /mnt
umount -R /mnt
INNER
	else
		say "no loop device here: packages are written with debugfs"
		make_scratch "$(dirname "$1")"
		rm -rf "$scratch/tree"
		debian_tree "$scratch/tree" "$base_packages,${gen1_packages// /,}"
		"$here/churn.py" --debugfs "$1" --merge "$scratch/tree"
	fi
}

# churn FILE [options of churn.py]
churn() {
	local file=$1
	shift
	if have_loop "$file"; then
		unshare -m bash -euc 'mount -o loop,noinit_itable "$1" /mnt
			"$2" --tree /mnt "${@:3}"
			sync -f /mnt
			umount /mnt' - "$file" "$here/churn.py" "$@"
	else
		"$here/churn.py" --debugfs "$file" "$@"
	fi
}

# Whole, or gone: FILE.new becomes FILE when it is sound.
publish() {
	e2fsck -fn "$1.new" >/dev/null 2>&1 || die "$1: e2fsck finds errors"
	mv "$1.new" "$1"
	say "$1: $(($(stat -c '%b' "$1") * 512 / 1000000)) MB of data"
}

three_generations() {
	local dir=$1
	mkdir -p "$dir"
	if [ ! -e "$dir/base.raw" ]; then
		command -v mmdebstrap >/dev/null ||
			die "mmdebstrap is missing: tests/setup bench"
		say "base.raw: mmdebstrap"
		make_scratch "$dir"
		debian_tree "$scratch/tree" "$base_packages" ||
			die "base.raw: mmdebstrap failed (is $mirror reachable?)"
		make_fs "$dir/base.raw.new" "$scratch/tree"
		publish "$dir/base.raw"
		rm -rf --one-file-system "$scratch/tree"
	fi
	if [ ! -e "$dir/gen1.raw" ]; then
		say "gen1.raw: $gen1_packages"
		copy_disk "$dir/base.raw" "$dir/gen1.raw.new"
		install_in_place "$dir/gen1.raw.new" || die "gen1.raw: failed"
		publish "$dir/gen1.raw"
	fi
	if [ ! -e "$dir/gen2.raw" ]; then
		say "gen2.raw: churn"
		copy_disk "$dir/gen1.raw" "$dir/gen2.raw.new"
		churn "$dir/gen2.raw.new" --log-mb 100 --database-mb 48
		publish "$dir/gen2.raw"
	fi
}

# At most 700 MB of this machine's own files.
own_usr_tree() {
	mkdir -p "$1"
	{ find /usr -xdev -type f -readable -printf '%s %p\0' 2>/dev/null || :; } |
		sort -z -k 2 |
		awk 'BEGIN { RS = "\0"; ORS = "\0" }
			(sum += $1) <= 700e6 { sub(/^[0-9]+ /, ""); print }' |
		tar -C / --null --no-recursion -P --transform 's,^/,,' -T - -cf - |
		tar -C "$1" -xf -
}

small_disk() {
	local dir=$1
	mkdir -p "$dir"
	[ ! -e "$dir/small.raw" ] || return 0
	make_scratch "$dir"
	if command -v mmdebstrap >/dev/null && [ "$(id -u)" = 0 ] &&
		debian_tree "$scratch/tree" "$2" minbase 2>"$scratch/log"; then
		say "the disk is a Debian minbase, made by mmdebstrap"
	else
		say "no Debian mirror to be reached (or not root): the disk" \
			"holds this machine's own /usr, at most 700 MB"
		rm -rf --one-file-system "$scratch/tree"
		own_usr_tree "$scratch/tree" || say "some files were left out"
	fi
	make_fs "$dir/small.raw.new" "$scratch/tree"
	publish "$dir/small.raw"
}

case ${1-} in
--small)
	small_disk "${2:?mkdisk.sh --small DIR}" "${3-}"
	;;
--change)
	churn "${2:?mkdisk.sh --change FILE}" --log-mb 20 --database-mb 16
	;;
-* | "")
	sed -n '3,16s/^# \{0,1\}//p' "$0"
	exit 2
	;;
*)
	three_generations "$1"
	;;
esac
