#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# restore --delta over an older state: all right, and little written.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 8000000 1
vmsnap backup -q vm d.raw
cp d.raw old.raw
poke d.raw 100000 hello
poke d.raw 7999990 bye
vmsnap backup -q vm d.raw
cp old.raw out.raw
expect 1 vmsnap restore vm out.raw
errs 'out.raw'
same old.raw out.raw
expect 0 vmsnap restore vm --delta --json out.raw
same d.raw out.raw
holds "0 < d['written_bytes'] <= 200000 and d['unchanged_bytes'] > 5000000"
expect 0 vmsnap restore vm --delta --json out.raw
holds "d['written_bytes'] == 0"
# A target that is shorter, longer, or not there.
truncate -s 1000001 out.raw
expect 0 vmsnap restore vm --delta out.raw
same d.raw out.raw
head -c 3000000 /dev/urandom >>out.raw
expect 0 vmsnap restore vm@-1 --delta out.raw
same old.raw out.raw
rm out.raw
expect 0 vmsnap restore vm --delta out.raw
same d.raw out.raw
expect 0 vmsnap restore vm@-1 --force out.raw
same old.raw out.raw
