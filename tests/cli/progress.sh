#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Progress: none on a pipe, lines when asked, JSON that parses.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 9000000 1
expect 0 vmsnap backup vm d.raw
silent err
expect 0 vmsnap backup vm d.raw --progress never
silent err
expect 0 vmsnap backup vm d.raw --rehash --progress always
errs '8.6 MiB / 8.6 MiB .*unique .*stored '
expect 0 vmsnap restore vm out.raw --progress json
python3 - <<'EOF'
import json
lines = [json.loads(line) for line in open("err")]
assert lines, "no line"
for line in lines:
    assert line["type"] == "progress" and line["verb"] == "restore", line
    assert set(line) >= {"total_bytes", "done_bytes", "unique_bytes",
                         "stored_bytes", "elapsed_us"}, line
assert lines[-1]["done_bytes"] == lines[-1]["total_bytes"] > 0, lines[-1]
EOF
expect 0 vmsnap verify vm --progress json
expect 0 vmsnap check --read-data --progress json
# Of the disks' bytes, once up the trees and once down.
expect 0 vmsnap stats --progress json
python3 - <<'EOF'
import json
last = [json.loads(line) for line in open("err")][-1]
assert last["verb"] == "stats", last
assert last["done_bytes"] == last["total_bytes"] == 2 * 3 * 9000000, last
EOF
# How far on the disks; the ranges stay as they are.
cp d.raw e.raw
poke e.raw 0 differs
poke e.raw 8999000 differs
expect 0 vmsnap backup other e.raw
expect 0 vmsnap diff vm other --map
silent err
mv out ranges
expect 0 vmsnap diff vm other --map --progress json
same ranges out
python3 - <<'EOF'
import json
last = [json.loads(line) for line in open("err")][-1]
assert last["verb"] == "diff", last
assert last["done_bytes"] == last["total_bytes"] == 9000000, last
EOF
vmsnap image create -q i.vsi --from vm
expect 0 vmsnap diff i.vsi other --progress always
errs '8.6 MiB / 8.6 MiB'
vmsnap image rm -q i.vsi
expect 0 vmsnap -q backup vm d.raw
silent out
silent err
# On a terminal: one line, gone at the end.
python3 - "$VMSNAP" >seen <<'EOF'
import os, pty, sys
def read(fd):
    return os.read(fd, 4096)
sys.exit(os.waitstatus_to_exitcode(
    pty.spawn([sys.argv[1], "backup", "vm", "d.raw", "--rehash"], read)))
EOF
grep -q 'snapshot' seen
