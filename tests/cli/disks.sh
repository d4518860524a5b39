#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several disks in one snapshot: names, which one to restore.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk a.raw 300000 1
disk b.raw 500001 2
disk ./c=d.raw 70000 3
expect 0 vmsnap backup --json vm root=a.raw b.raw ./c=d.raw
holds "[x['name'] for x in d['disks']] == ['root', 'disk1', 'disk2']"
holds "d['logical_bytes'] == 870001"
expect 2 vmsnap restore vm got
errs 'disk'
expect 4 vmsnap restore vm --disk none got
for pair in root:a.raw disk1:b.raw disk2:./c=d.raw; do
	expect 0 vmsnap restore vm --disk "${pair%%:*}" got
	same "${pair#*:}" got
	rm got
done
expect 2 vmsnap backup vm x=a.raw x=b.raw
errs "two disks are called 'x'"
expect 2 vmsnap backup vm disk1=a.raw b.raw
expect 2 vmsnap backup vm x=
# The same content on another disk, and in another snapshot, costs nothing.
expect 0 vmsnap backup --json twin a.raw again=a.raw
holds "d['new_content_bytes'] == 0"
expect 0 vmsnap verify vm
