#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A file system through images: each clone, each snapshot of a clone and each
# export is clean, also when the disk has grown.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

export PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.ext4 >/dev/null && command -v debugfs >/dev/null ||
	skip "no e2fsprogs"
clean() { e2fsck -fn "$1" >fsck.out 2>&1 || { cat fsck.out; fail "$1"; }; }

truncate -s 64M a.raw
mkfs.ext4 -q -F a.raw
disk content 3000000 1
debugfs -w -R "write content content" a.raw >/dev/null 2>&1
clean a.raw
vmsnap init -q
vmsnap backup -q vm a.raw
for i in 1 2 3; do
	expect 0 vmsnap image create c$i.vsi --from vm
	expect 0 vmsnap image export c$i.vsi c$i.raw
	same a.raw c$i.raw
	clean c$i.raw
done
expect 0 vmsnap image resize c1.vsi --size 96M
expect 0 vmsnap image snapshot c1.vsi clone
expect 0 vmsnap backup clone c1.vsi
expect 0 vmsnap diff --json clone@-1 clone
holds "d['disks'][0]['differing_bytes'] == 0"
expect 0 vmsnap restore clone clone.raw
clean clone.raw
resize2fs clone.raw >/dev/null 2>&1
clean clone.raw
debugfs -R "dump content content.out" clone.raw >/dev/null 2>&1
same content content.out
# Ten generations, each the next one's base.
for i in 0 1 2 3 4 5 6 7 8 9; do
	expect 0 vmsnap image create g$i.vsi --from clone
	expect 0 vmsnap image snapshot g$i.vsi clone
	expect 0 vmsnap image rm g$i.vsi
done
expect 0 vmsnap restore clone last.raw
clean last.raw
expect 0 vmsnap list --pins --json
holds "len(d['pins']) == 3"
expect 0 vmsnap check --read-data
