#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check: shares of the data, values that make no sense, a missing pack.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 8000000 1
vmsnap backup -q vm d.raw
expect 0 vmsnap check
says '1 snapshot, [0-9]+ chunks, [0-9]+ packs'
expect 0 vmsnap check --json
holds "d['read_bytes'] == 0 and d['chunks'] > 50"
expect 0 vmsnap check --json --read-data
holds "5000000 < d['read_bytes']"
expect 0 vmsnap check --json --read-data=10%
holds "0 < d['read_bytes'] < 4000000"
expect 0 vmsnap check --read-data=0.5%
for share in 0% 101% -5% x 10%% '' %; do
	expect 2 vmsnap check --read-data="$share"
done
pack=$(find store/packs -type f | head -1)
mv "$pack" aside
expect 3 vmsnap check --json
holds "len(d['errors']) >= 1 and any('vm' == s['name'] for e in d['errors'] for s in e['snapshots'])"
expect 3 vmsnap restore vm out.raw
mv aside "$pack"
expect 0 vmsnap check --read-data
# Files that are not ours do no harm.
touch store/packs/README store/snapshots/.tmp store/tables/x
expect 0 vmsnap check
expect 0 vmsnap list
