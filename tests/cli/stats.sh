#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stats: the sums are those of the snapshots and of the files.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
expect 0 vmsnap stats --json
holds "d['snapshots'] == [] and d['unique_bytes'] == 0"
head -c 4194304 /dev/urandom >a.raw
head -c 4194304 /dev/urandom >b.raw
vmsnap backup -q one a.raw
vmsnap backup -q two a.raw
vmsnap backup -q three b.raw
expect 0 vmsnap stats --json --histogram
holds "d['logical_bytes'] == 3 * 4194304 and d['data_bytes'] == 3 * 4194304"
holds "d['unique_bytes'] == 2 * 4194304 and abs(d['dedup_ratio'] - 1.5) < 0.01"
holds "d['chunks'] == 128 and d['unreferenced_bytes'] >= 0"
holds "sum(d['by_ratio']) == 128 and sum(d['by_references']) == 128"
holds "[s['unique_bytes'] for s in sorted(d['snapshots'], key=lambda s: s['time'])] == [0, 0, 4194304]"
size=$(find store -type f -printf '%s\n' | awk '{s += $1} END {print s}')
holds "d['store_bytes'] == $size"
expect 0 vmsnap stats --histogram
says '^unique +8.0 MiB in 128 chunks \(dedup 1.50\)'
says 'from 2 '
