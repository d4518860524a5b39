#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A machine that is given a disk and no kernel: raw and as an image.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/kvm/lib_bzimage.sh"

uuid=01234567-89ab-cdef-0123-456789abcdef
mkdir -p root/boot root/etc root/sbin
make_bzimage root/boot/vmlinuz-1
printf 'its initrd' >root/boot/initrd.img-1
mkfs.ext4 -q -F -U $uuid -d root raw 16M

boots() {
	agent --disk "$@" --memory 64M >out 2>err </dev/null ||
		fail "$(cat out err)"
}

boots raw
says "root=UUID=$uuid ro console=ttyS0 its initrd"
boots raw --append more
says "root=UUID=$uuid ro console=ttyS0 more its initrd"

# nbdkit can't load a plugin with sanitizers.
if ! grep -q -a -e __asan_init -e __tsan_init "$BUILD/vmsnap"; then
	"$BUILD/vmsnap" image create disk.vsi --size 16M
	nbdkit -U - -f "$BUILD/nbdkit-vmsnap-plugin.so" image=disk.vsi \
		writable=true --run 'nbdcopy raw "$uri"'
	boots disk.vsi
	says "root=UUID=$uuid ro console=ttyS0 its initrd"
fi

# Nothing to boot: told with what to do.
truncate -s 16M empty
agent --disk empty >out 2>err </dev/null && fail "an empty disk was started"
errs 'no kernel that can be found.*--kernel'
