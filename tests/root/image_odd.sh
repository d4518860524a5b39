#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images on a full disk and over a store that is read-only: another base, a
# difference, a pin's removal; nothing is lost, and it goes on when it can.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

mkdir mnt images
mount -t tmpfs -o size=256M tmpfs mnt 2>/dev/null || skip "can't mount a tmpfs here"
trap 'umount images || :; umount mnt || :' EXIT
mount -t tmpfs -o size=40M tmpfs images
export VMSNAP_STORE=$TMP/mnt/store
is() { vmsnap image export -q "$1" - | cmp - "$2" || fail "$1 is not $2"; }
pins() {
	expect 0 vmsnap list --pins --json
	holds "len(d['pins']) == $1"
}

vmsnap init -q
head -c 60000256 /dev/urandom >big.raw
disk small.raw 3000320 1
vmsnap backup -q big big.raw
vmsnap backup -q small small.raw
x=images/x.vsi
vmsnap image create -q $x --from big

# No room for what must be kept: the image stands where it stood.
expect 1 vmsnap image rebase $x small
errs 'o space left'
is $x big.raw
pins 1
expect 0 vmsnap image check $x
expect 0 vmsnap diff $x big --json
holds "d['disks'][0]['differing_bytes'] == 0"
mount -o remount,size=120M images
expect 0 vmsnap image rebase $x small
is $x big.raw
pins 1

# The image's own file system is read-only.
mount -o remount,ro images
expect 1 vmsnap image rebase $x big
errs 'ead-only'
is $x big.raw
expect 0 vmsnap diff $x big --json
holds "d['disks'][0]['differing_bytes'] == 0"
mount -o remount,rw images

# The store is: no pin for the new base, none goes, and both are told.
mount -o remount,ro mnt
expect 0 vmsnap image rebase $x big
errs 'no pin in the store'
is $x big.raw
pins 1
pin=$(json "d['pins'][0]['id']")
holds "d['pins'][0]['state'] == 'used'"
expect 5 vmsnap pin remove "$pin"
rm $x*
expect 1 vmsnap pin remove "$pin"
errs 'ead-only'
mount -o remount,rw mnt
expect 0 vmsnap pin remove "$pin"
pins 0

# No room in the store for the pin: nothing has happened.
vmsnap image create -q $x --from small
dd if=/dev/zero of=mnt/fill bs=64k 2>/dev/null || :
expect 1 vmsnap image rebase $x big
errs 'o space left'
is $x small.raw
rm mnt/fill
expect 0 vmsnap image rebase $x big
is $x small.raw
pins 1
expect 0 vmsnap image rm $x
pins 0
expect 0 vmsnap check
