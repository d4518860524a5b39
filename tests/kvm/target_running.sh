#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk that a running machine writes to is nothing to restore or export over,
# by force neither; one that it only reads is, and so is one of a machine that
# was stopped.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }

vmsnap init -q
disk a.raw 262144 1
disk other.raw 262144 2
vmsnap backup -q a a.raw
vmsnap image create -q a.vsi --from a
cp other.raw disk.raw
cp other.raw read.raw
vmsnap run -q web --from a --disk disk.raw --in-place --disk read.raw \
	--kernel "$BUILD/tests/kvm/echo.elf" --memory 4M --net none
until_true log_has web '^up'

own=home/machines/web/disk0.vsi
for target in disk.raw "$own" "$own.1"; do
	inode=$(stat -c %i "$target")
	expect 5 vmsnap image export a.vsi "$target" --force
	errs "^vmsnap: image export: '$target' is in use"
	expect 5 vmsnap restore a "$target" --force
	errs "^vmsnap: restore: '$target' is in use"
	expect 5 vmsnap restore a "$target" --delta
	[ "$(stat -c %i "$target")" = "$inode" ] || fail "$target is another file"
	[ ! -e "$target.vmsnap-partial" ] || fail "a partial of $target is left"
done
same other.raw disk.raw
vmsnap ps >out
says '^web +running'
# The guest has a copy of its own over it, of what it reads.
expect 0 vmsnap image export a.vsi read.raw --force
same a.raw read.raw
expect 0 vmsnap stop -q --force web
expect 0 vmsnap image export a.vsi disk.raw --force
same a.raw disk.raw
