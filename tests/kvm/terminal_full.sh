#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A machine in the foreground whose terminal nobody reads: what its guest prints
# and what the agent has to say hold nobody up.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

python3 - "$VMSNAP" "$BUILD/tests/kvm/trouble.elf" <<'PY' || fail "a full terminal"
import errno, json, os, pty, socket, subprocess, sys, tty

master, slave = pty.openpty()
tty.setraw(slave)
machine = subprocess.Popen(
    [sys.argv[1], "run", "fore", "--kernel", sys.argv[2], "--append", "rules",
     "--memory", "16M", "--foreground"],
    stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
seen = b""
while b"up" not in seen:
    seen += os.read(master, 4096)
full = os.open(os.ttyname(slave), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
size = 65536
while size:
    try:
        os.write(full, b"." * size)
    except BlockingIOError:
        size //= 2

def connect(name):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(120)
    s.connect("home/machines/fore/" + name)
    return s

control = connect("control.sock").makefile("rw")
control.readline()
control.write('{"do": "events"}\n')
control.flush()
connect("console.sock").sendall(b"g")
# Its guest breaks rules, which the agent says, and then says so itself.
events = []
for line in control:
    events.append(json.loads(line))
assert any(e.get("event") == "device" for e in events), events
assert events[-1]["state"] == "stopped", events
os.close(full)
os.close(slave)
try:
    while os.read(master, 65536):
        pass
except OSError as e:
    assert e.errno == errno.EIO
assert machine.wait(120) == 0
PY
