# SPDX-License-Identifier: Apache-2.0
# What all runs of the lab share, made once: level 1's kernel and initramfs, and
# the guest's disk. Sourced by lab: $top, $dir, $mirror, $scratch are its.

modules="irqbypass kvm kvm-amd virtio_pci virtio_blk virtio_net ext4 tun vsock"
guest_packages=linux-image-cloud-amd64,systemd-sysv,udev,dbus,iproute2
guest_packages+=,iputils-ping,curl,qemu-guest-agent,e2fsprogs,util-linux

guest_tree() {
	mmdebstrap --quiet --variant=minbase --include="$guest_packages" \
		--aptopt='Acquire::Retries "2"' \
		--customize-hook='echo lab >"$1/etc/hostname"' \
		--customize-hook='echo "root:lab" | chroot "$1" chpasswd' \
		--customize-hook='printf "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n" >"$1/etc/systemd/network/lab.network"' \
		--customize-hook='chroot "$1" systemctl -q enable systemd-networkd' \
		--customize-hook='echo "/dev/disk/by-uuid/76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0003 / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		bookworm "$1" "deb $mirror bookworm main"
}

# One partition, as an installer makes it; ext4 goes straight to its place.
guest_disk() {
	local size_mib=2048
	rm -f "$2"
	truncate -s "${size_mib}M" "$2"
	printf 'label: gpt\nstart=1MiB, type=L\n' | sfdisk --quiet "$2"
	mkfs.ext4 -q -F -d "$1" -U 76d5b9a2-0a53-4c0b-9a56-2f6f6c3f0003 \
		-E offset=1048576,lazy_itable_init=1,nodiscard \
		"$2" $(((size_mib - 2) * 1024))k
}

# The modules wanted and what they stand on, in the order to load them.
module_files() {
	local tree=$1 release=$2 module
	for module in $modules; do
		modprobe -d "$tree" -S "$release" --show-depends \
			--ignore-install "$module" 2>/dev/null |
			awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++'
}

host_initramfs() {
	local tree=$1 out=$2 root=$scratch/root release module
	release=$(basename "$tree"/lib/modules/*)
	mkdir -p "$root"/{bin,usr/bin,proc,sys,dev,tmp,run,modules,etc,root}
	cp "$(command -v busybox)" "$root/bin/busybox"
	depmod -b "$tree" "$release"
	: >"$root/modules/order"
	for module in $(module_files "$tree" "$release"); do
		cp "$module" "$root/modules/"
		basename "$module" >>"$root/modules/order"
	done
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$out"
}

build_shared() {
	local tool made_by
	made_by=$(sha256sum <"$top/tests/lab/lib_build.sh")
	[ "$(cat "$dir/ready" 2>/dev/null)" != "$made_by" ] || return 0
	for tool in mmdebstrap qemu-system-x86_64 busybox cpio sfdisk modprobe; do
		command -v $tool >/dev/null || die "no $tool: tests/setup lab"
	done
	mkdir -p "$dir"
	rm -f "$dir/ready"
	scratch=$(mktemp -d "$dir/.build.XXXXXX")
	say "the guest's disk: mmdebstrap"
	guest_tree "$scratch/tree" || die "mmdebstrap failed (is $mirror reachable?)"
	cp "$scratch"/tree/boot/vmlinuz-* "$dir/vmlinuz"
	cp "$scratch"/tree/boot/initrd.img-* "$dir/guest-initrd"
	host_initramfs "$scratch/tree" "$dir/host.cpio.gz"
	guest_disk "$scratch/tree" "$dir/guest.raw"
	echo "$made_by" >"$dir/ready"
	rm -rf --one-file-system "$scratch"
	scratch=
	say "$dir: $(du -sh "$dir" | cut -f1)"
}
