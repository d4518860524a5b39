#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# verify: one, or the latest of each name.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
expect 4 vmsnap verify --all-latest
disk a.raw 900000 1
disk b.raw 900000 2
vmsnap backup -q one a.raw
vmsnap backup -q one b.raw
vmsnap backup -q two a.raw
expect 0 vmsnap verify one@-1
says '^one [0-9a-f]{12}: good'
expect 0 vmsnap verify --all-latest
[ "$(wc -l <out)" = 2 ]
expect 0 vmsnap verify --all-latest --json
holds "sorted(s['name'] for s in d['snapshots']) == ['one', 'two']"
expect 4 vmsnap verify three
[ -z "$(find . -name '*partial*')" ]
