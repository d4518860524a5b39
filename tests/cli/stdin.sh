#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk on standard input: size needed, short and long input are errors.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 3000000 1
cat d.raw | expect 0 vmsnap backup --json pipe - --size 3000000
holds "d['logical_bytes'] == 3000000"
expect 0 vmsnap restore pipe out.raw
same d.raw out.raw
expect 0 vmsnap backup --json pipe - --size 3000000 <d.raw
holds "d['new_content_bytes'] == 0"
expect 2 vmsnap backup pipe - <d.raw
errs '--size'
cat d.raw | expect 1 vmsnap backup short - --size 3000001
errs 'standard input|short|end'
cat d.raw | expect 1 vmsnap backup long - --size 2999999
expect 4 vmsnap show short
expect 4 vmsnap show long
expect 2 vmsnap backup pipe - - --size 10 </dev/null
expect 2 vmsnap backup pipe d.raw --size 10
for size in 99999999999999999999 16E 1Q -1 '' 1.5G; do
	expect 2 vmsnap backup pipe - --size "$size" </dev/null
done
head -c 131072 d.raw | expect 0 vmsnap backup --json k - --size 128K
holds "d['logical_bytes'] == 131072"
