#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# virtio-rng and virtio-blk on KVM: raw file and image, notifications by the
# kernel's doorbells, interrupts by MSI-X; a reset while a request is under way.
. "$TOP/tests/kvm/lib.sh"

guest virtio --memory 64M
says 'random'

truncate -s 8M disk.raw
head -c 4096 /dev/zero | tr '\0' '\245' >other.raw
guest virtio --memory 64M --disk disk.raw --disk-ro other.raw
says 'disk of 16384 sectors'
says 'it keeps what is written'
says 'the other one begins with a5'
# As the guest wrote it, 128 sectors a seed: its first 8 bytes.
first=$(od -An -N8 -tx8 -j$((128 * 512 * 2)) disk.raw | tr -d ' ')
[ "$first" = "$(printf '%016x' $((3 * 0x9e3779b97f4a7c15)))" ] ||
	fail "the file has $first where the guest wrote"
[ "$(od -An -N1 -tx1 other.raw | tr -d ' ')" = a5 ] || fail "was written to"

guest virtio --memory 64M --disk disk.raw --append again
says 'reset with a request under way'
says 'it keeps what is written'

status=0
agent --kernel "$BUILD/tests/kvm/virtio.elf" --disk absent.raw \
	>"$TMP/out" 2>"$TMP/err" </dev/null || status=$?
[ "$status" = 4 ] || fail "exit status $status where there is no such disk"

"$BUILD/vmsnap" image create disk.vsi --size 8M
guest virtio --memory 64M --disk disk.vsi
says 'it keeps what is written'
"$BUILD/vmsnap" image export disk.vsi exported.raw
first=$(od -An -N8 -tx8 -j$((128 * 512 * 2)) exported.raw | tr -d ' ')
[ "$first" = "$(printf '%016x' $((3 * 0x9e3779b97f4a7c15)))" ] ||
	fail "the image has $first where the guest wrote"
