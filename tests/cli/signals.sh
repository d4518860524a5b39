#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGINT and SIGTERM: an orderly end by that signal, the store unhurt.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 9000000 1
cat >stop.py <<'EOF'
import os, signal, subprocess, sys, time
number, program = int(sys.argv[1]), sys.argv[2]
def normal():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
p = subprocess.Popen([program, "backup", "vm", "-", "--size", "9000000",
                      "--progress", "json"], stdin=subprocess.PIPE,
                     stderr=subprocess.PIPE, preexec_fn=normal)
p.stdin.write(open("d.raw", "rb").read(5000000))
p.stdin.flush()
p.stderr.readline()  # the first line of progress: the call runs
p.send_signal(number)
try:
    rest = p.communicate(timeout=60)[1].decode()
except subprocess.TimeoutExpired:
    p.kill()
    sys.exit("it did not end")
if p.returncode != -number:
    sys.exit(f"ended with {p.returncode}: {rest}")
if "stopped by SIG" not in rest:
    sys.exit("no word: " + rest)
EOF
python3 stop.py 2 "$VMSNAP"
python3 stop.py 15 "$VMSNAP"
expect 4 vmsnap show vm
expect 0 vmsnap check --read-data
expect 0 vmsnap backup vm d.raw
expect 0 vmsnap restore vm out.raw
same d.raw out.raw
[ -z "$(find store -name '*.tmp*' -o -name '.*' -type f)" ] ||
	fail "temporaries are left behind"
