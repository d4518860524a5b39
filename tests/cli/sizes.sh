#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks of every awkward size come back byte for byte.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
for size in 0 1 511 4097 65535 65536 65537 1048575 16777217; do
	disk d.raw $size "$((size + 1))"
	expect 0 vmsnap backup --json "s$size" d.raw
	holds "d['logical_bytes'] == $size and d['disks'][0]['size_bytes'] == $size"
	expect 0 vmsnap restore "s$size" out.raw
	same d.raw out.raw
	expect 0 vmsnap verify "s$size"
	rm d.raw out.raw
done
truncate -s 1000000 zeros.raw
expect 0 vmsnap backup --json zeros zeros.raw
holds "d['new_chunks'] == 0 and d['disks'][0]['root'] is None"
expect 0 vmsnap restore zeros out.raw
same zeros.raw out.raw
[ "$(stat -c %b out.raw)" = 0 ] || fail "a hole was written"
expect 0 vmsnap check --read-data
# Beyond the limit that a process has: told, and no death by a signal.
expect 1 bash -c 'ulimit -f 1000; exec "$0" restore s16777217 big.raw' "$VMSNAP"
errs 'big.raw.*File too large'
[ ! -e big.raw ]
