#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host that forbids io_uring: the same snapshots, the same bytes.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 7000001 1
VMSNAP_IO=plain expect 0 vmsnap backup --json vm d.raw
root=$(json "d['disks'][0]['root']")
expect 0 vmsnap backup --json vm d.raw --rehash
[ "$(json "d['disks'][0]['root']")" = "$root" ] || fail "another root"
holds "d['new_content_bytes'] == 0"
for io in plain ''; do
	export VMSNAP_IO=$io
	[ -n "$io" ] || unset VMSNAP_IO
	expect 0 vmsnap restore vm out.raw
	same d.raw out.raw
	rm out.raw
	vmsnap restore vm - | cmp - d.raw
	expect 0 vmsnap verify vm
	expect 0 vmsnap check --read-data
	expect 0 vmsnap stats
done
VMSNAP_IO=plain VMSNAP_WORKERS=1 expect 0 vmsnap backup --json one d.raw
holds "d['new_content_bytes'] == 0"
VMSNAP_IO=nonsense expect 2 vmsnap list
