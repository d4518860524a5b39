#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A damaged chunk: which bytes, whom it hurts, and --skip-damaged around it.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
python3 -c 'import os; open("d.raw", "wb").write(os.urandom(1 << 20))'
vmsnap backup -q vm d.raw --label a
vmsnap backup -q twin d.raw
pack=$(find store/packs -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
# In the midst of the first data chunks (64 KiB of random bytes each).
printf 'XXXXXXXX' | dd of="$pack" bs=1 seek=200000 conv=notrunc status=none
expect 3 vmsnap restore vm out.raw
errs '^vmsnap: restore: .*--skip-damaged'
[ ! -e out.raw ]
expect 8 vmsnap restore vm out.raw --skip-damaged --json
errs '[0-9]+ bytes at [0-9]+'
python3 - <<'EOF'
import json
d = json.load(open("out"))
want, got = open("d.raw", "rb").read(), open("out.raw", "rb").read()
assert len(want) == len(got)
assert d["damaged"] and sum(r["length_bytes"] for r in d["damaged"]) <= 131072
inside = bytearray(len(want))
for r in d["damaged"]:
    for i in range(r["offset_bytes"], r["offset_bytes"] + r["length_bytes"]):
        inside[i] = 1
for i in range(len(want)):
    assert got[i] == (0 if inside[i] else want[i]), i
EOF
expect 3 vmsnap verify vm
expect 3 vmsnap verify --all-latest --json
holds "[s['good'] for s in d['snapshots']] == [False, False]"
holds "all(r['disk'] == 'disk0' for s in d['snapshots'] for r in s['damaged'])"
expect 0 vmsnap check
expect 3 vmsnap check --read-data --json
holds "len(d['errors']) >= 1"
holds "{s['name'] for e in d['errors'] for s in e['snapshots']} == {'vm', 'twin'}"
holds "all(s['ranges'] for e in d['errors'] for s in e['snapshots'])"
errs 'hurts vm [0-9a-f]{12}, disk0: [0-9]+ bytes at [0-9]+'
