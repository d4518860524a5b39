#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# backup --dry-run stores nothing; --rehash, --level and --chunk-size.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q --chunk-size 16K --level 3
disk d.raw 3000000 1
find store -type f | sort >before
expect 0 vmsnap backup --dry-run --json vm d.raw
holds "d['id'] is None and d['dry_run'] and d['new_content_bytes'] > 1000000"
holds "d['stored_bytes'] > 0"
find store -type f | sort >after
same before after
expect 0 vmsnap backup --dry-run vm d.raw
says 'would store'
expect 0 vmsnap backup --json vm d.raw
holds "d['disks'][0]['chunk_bytes'] == 16384"
expect 0 vmsnap backup --json vm d.raw
holds "d['unchanged_bytes'] >= 2000000 and d['new_chunks'] == 0"
expect 0 vmsnap backup --json --rehash vm d.raw
holds "d['unchanged_bytes'] == 0 and d['new_content_bytes'] == 0"
expect 0 vmsnap backup --json --chunk-size 1M --level 19 large d.raw
holds "d['disks'][0]['chunk_bytes'] == 1048576"
# A later one of the same name keeps to it.
expect 0 vmsnap backup --json large d.raw
holds "d['disks'][0]['chunk_bytes'] == 1048576 and d['new_chunks'] == 0"
for name in vm large; do
	expect 0 vmsnap restore --force $name out.raw
	same d.raw out.raw
done
