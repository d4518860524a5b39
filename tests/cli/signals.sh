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
# A restore that was stopped says where its half stands.
cat >stop_restore.py <<'EOF'
import os, signal, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "restore", "vm", "half.raw", "--progress",
                      "json"], stderr=subprocess.PIPE, text=True,
                     preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                      signal.SIG_DFL))
while not os.path.exists("half.raw.vmsnap-partial") and p.poll() is None:
    pass
p.send_signal(signal.SIGINT)
words = p.communicate(timeout=60)[1]
if p.returncode == 0:
    sys.exit(77)  # it was faster
if "vmsnap: restore: stopped by SIGINT (what is there so far stands in " \
   "'half.raw.vmsnap-partial'" not in words:
    sys.exit("no word: " + words)
EOF
head -c 120000000 /dev/urandom >large.raw
vmsnap backup -q vm large.raw
status=0
python3 stop_restore.py "$VMSNAP" || status=$?
[ $status = 0 ] || [ $status = 77 ] || fail "stop_restore.py: $status"
[ -z "$(find store -name '*.tmp*' -o -name '.*' -type f)" ] ||
	fail "temporaries are left behind"
