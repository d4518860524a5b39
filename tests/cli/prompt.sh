#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The prompt: no echo, asked twice for a new one, the terminal restored.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

unset VMSNAP_PASSPHRASE
export PYTHONPATH=$TOP/tests/cli PYTHONDONTWRITEBYTECODE=1
cat >talk.py <<'EOF'
import os, re, sys, termios
import on_terminal
answers, command = sys.argv[1].split(","), sys.argv[2:]
pid, fd = on_terminal.start(command)
seen, given = b"", 0
for seen in on_terminal.seen(fd):
    while given < len(answers) and len(
            re.findall(rb"(?:passphrase|Passphrase|Once more): ", seen)) > given:
        if termios.tcgetattr(fd)[3] & termios.ECHO:
            sys.exit("echo is on")
        if answers[given] == "^C":
            os.write(fd, b"\x03")
        else:
            os.write(fd, answers[given].encode() + b"\n")
        given += 1
status = on_terminal.end(pid)
sys.stdout.write(seen.decode())
for answer in answers:
    if answer != "^C" and answer.encode() in seen:
        sys.exit("the passphrase was shown")
sys.exit(status)
EOF
expect 7 python3 talk.py seesaw,swing "$VMSNAP" init
says 'not the same'
[ ! -e store/config ]
expect 0 python3 talk.py seesaw,seesaw "$VMSNAP" init
expect 7 python3 talk.py swing "$VMSNAP" list
expect 0 python3 talk.py seesaw "$VMSNAP" list
expect 0 python3 talk.py seesaw,swing,swing "$VMSNAP" key change
expect 0 python3 talk.py swing "$VMSNAP" list
expect 130 python3 talk.py ^C "$VMSNAP" list
