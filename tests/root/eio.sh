#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A source with unreadable places: it stops and names one; or skips and lists them.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

export PATH=$PATH:/usr/sbin:/sbin
command -v dmsetup >/dev/null || skip "no dmsetup"
disk d.raw 4194304 1
loop=$(losetup -f --show d.raw 2>/dev/null) || skip "no loop devices here"
name=vmsnap-test-$$
trap 'dmsetup remove $name 2>/dev/null || :; losetup -d $loop || :' EXIT
# 4 KiB that can't be read at 1 MiB.
printf '%s\n' "0 2048 linear $loop 0" "2048 8 error" \
	"2056 6136 linear $loop 2056" | dmsetup create $name 2>/dev/null ||
	skip "no device mapper here"
device=/dev/mapper/$name
[ -b "$device" ] || { dmsetup mknodes $name; [ -b "$device" ]; } ||
	skip "device mapper makes no nodes here"
vmsnap init -q
expect 1 vmsnap backup vm "$device"
errs '10[0-9]{5}'
expect 4 vmsnap show vm
expect 8 vmsnap backup vm "$device" --skip-bad-blocks --json
holds "len(d['disks'][0]['bad_ranges']) == 1"
errs 'bytes at [0-9]+ could not be read'
expect 0 vmsnap restore vm out.raw
python3 - <<'EOF'
want, got = open("d.raw", "rb").read(), open("out.raw", "rb").read()
assert got[:1048576 - 65536] == want[:1048576 - 65536]
assert got[1048576:1048576 + 4096] == bytes(4096)
assert got[1048576 + 65536:] == want[1048576 + 65536:]
EOF
expect 0 vmsnap show vm
says 'bad +[0-9]+ bytes at'
