#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The prompt: no echo, asked twice for a new one, the terminal restored.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

unset VMSNAP_PASSPHRASE
cat >talk.py <<'EOF'
import os, pty, re, select, sys, termios
answers, command = sys.argv[1].split(","), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(command[0], command)
seen, given = b"", 0
while True:
    if not select.select([fd], [], [], 60)[0]:
        sys.exit("no prompt within a minute")
    try:
        got = os.read(fd, 4096)
    except OSError:
        break
    if not got:
        break
    seen += got
    while given < len(answers) and len(
            re.findall(rb"(?:passphrase|Passphrase|Once more): ", seen)) > given:
        if termios.tcgetattr(fd)[3] & termios.ECHO:
            sys.exit("echo is on")
        if answers[given] == "^C":
            os.write(fd, b"\x03")
        else:
            os.write(fd, answers[given].encode() + b"\n")
        given += 1
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(seen.decode())
for answer in answers:
    if answer != "^C" and answer.encode() in seen:
        sys.exit("the passphrase was shown")
sys.exit(status if status >= 0 else 128 - status)
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
