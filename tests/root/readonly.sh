#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A store on a read-only mount: reading works, writing says so.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

mkdir mnt
mount -t tmpfs -o size=32M tmpfs mnt 2>/dev/null || skip "can't mount a tmpfs here"
trap 'umount mnt || :' EXIT
export VMSNAP_STORE=$TMP/mnt/store
vmsnap init -q
disk d.raw 3000000 1
vmsnap backup -q vm d.raw
mount -o remount,ro mnt
for verb in list 'show vm' 'verify vm' 'check --read-data' stats 'key list' \
	'restore vm out.raw' 'diff vm vm'; do
	expect 0 vmsnap $verb
	silent err
done
same d.raw out.raw
expect 1 vmsnap backup vm d.raw
errs 'ead-only'
VMSNAP_NEW_PASSPHRASE=x expect 1 vmsnap key add
errs 'ead-only'
expect 0 vmsnap backup --dry-run vm d.raw
mount -o remount,rw mnt
expect 0 vmsnap backup vm d.raw
