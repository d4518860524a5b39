#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is no disk is refused, with the name and no hang.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
mkdir dir
mkfifo fifo
expect 1 timeout 20 "$VMSNAP" backup vm dir
errs "dir"
expect 2 timeout 20 "$VMSNAP" backup vm fifo
errs "fifo"
expect 2 timeout 20 "$VMSNAP" backup vm /dev/null
expect 4 timeout 20 "$VMSNAP" backup vm "not
there"
errs 'not\\x0athere|not\\nthere'
[ "$(wc -l <err)" = 1 ] || fail "an error of several lines"
for source in nbd://host/x nbd+unix:///x libvirt:web; do
	expect 6 vmsnap backup vm "$source"
	errs 'not in this version'
done
printf 'QFI\xfb\0\0\0\3' >disk.qcow2
expect 0 vmsnap backup vm disk.qcow2
errs 'warning: .*looks like qcow2'
expect 0 vmsnap restore vm got
same disk.qcow2 got
expect 6 vmsnap restore vm got2 --format qcow2
errs 'qemu-img convert'
[ ! -e got2 ]
expect 0 vmsnap restore vm got3 --format raw
same got got3
