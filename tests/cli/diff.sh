#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# diff: how much, and with --map exactly where.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk a.raw 2000000 1
cp a.raw b.raw
vmsnap backup -q vm a.raw
python3 - <<'EOF'
with open("b.raw", "r+b") as f:
    for place in (65536 * 3 + 10, 65536 * 4, 65536 * 9, 1999999):
        f.seek(place)
        old = f.read(1)
        f.seek(place)
        f.write(bytes([old[0] ^ 1]))
EOF
vmsnap backup -q vm b.raw
expect 0 vmsnap diff vm@-1 vm
says '^disk0: .* differ'
expect 0 vmsnap diff --map vm@-1 vm
python3 - <<'EOF'
a, b = open("a.raw", "rb").read(), open("b.raw", "rb").read()
seen = set()
last = -1
for line in open("out"):
    disk, offset, length = line.split()
    offset, length = int(offset), int(length)
    assert disk == "disk0" and offset > last and offset + length <= len(a), line
    assert a[offset:offset + length] != b[offset:offset + length], line
    seen.update(range(offset, offset + length))
    last = offset + length
assert len(open("out").readlines()) == 3, "neighbours are one range"
for i in range(len(a)):
    assert a[i] == b[i] or i in seen, i
EOF
expect 0 vmsnap diff --map --json vm@-1 vm
holds "d['disks'][0]['differing_bytes'] > 0"
[ "$(wc -l <out)" = 4 ]
expect 0 vmsnap diff --map vm vm
silent out
# Another chunk size: content counts. Another size, another disk.
vmsnap backup -q big a.raw --chunk-size 256K
expect 0 vmsnap diff --json vm@-1 big
holds "d['disks'][0]['differing_bytes'] == 0"
head -c 1500000 a.raw >short.raw
vmsnap backup -q vm short.raw more=b.raw
expect 0 vmsnap diff --json vm@-2 vm
holds "len(d['disks']) == 2 and d['disks'][0]['size_b_bytes'] == 1500000"
holds "not d['disks'][1]['in_a'] and d['disks'][1]['in_b']"
expect 0 vmsnap diff vm@-2 vm
says 'more: only in the second'
expect 4 vmsnap diff vm none
