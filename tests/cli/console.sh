#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The console between a side that is slow and one that is not: a large paste
# that the machine does not take, a terminal that stands still. The machine here
# is a socket, so that what it takes, and when, is said.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

mkdir -p home/machines/web
export VMSNAP_HOME=$TMP/home
export PYTHONPATH=$TOP/tests/cli PYTHONDONTWRITEBYTECODE=1
cat >paste.py <<'EOF'
import os, random, select, socket, sys, termios
import on_terminal

how, program = sys.argv[1], sys.argv[2]
listener = socket.socket(socket.AF_UNIX)
listener.bind("home/machines/web/console.sock")
listener.listen()
pid, fd = on_terminal.start([program, "console", "web"])
machine = listener.accept()[0]
os.set_blocking(fd, False)
machine.setblocking(False)
shown, taken, left = b"", b"", b""


def step(takes, reads):
    """Types what is left, as far as it goes; True: something went somewhere."""
    global shown, taken, left
    wanted = ([machine] if takes else []) + ([fd] if reads else [])
    ready = select.select(wanted, [fd] if left else [], [], 60)
    if not any(ready):
        sys.exit(f"stuck: {len(taken)} bytes taken, {len(left)} to type, "
                 f"{len(shown)} shown")
    if fd in ready[1]:
        left = left[os.write(fd, left[:65536]):]
    if fd in ready[0]:
        try:
            shown += os.read(fd, 65536)
        except OSError:  # its end
            return False
    if machine in ready[0]:
        got = machine.recv(65536)
        taken += got
        return bool(got)
    return True


def until(done, **how):
    while not done():
        if not step(**how):
            sys.exit(f"it ended: {shown[-300:]}")


def to_end(**how):
    while step(**how):
        pass
    status = on_terminal.end(pid)
    if not termios.tcgetattr(fd)[3] & termios.ICANON:
        sys.exit("the terminal is not as it was")
    return status


until(lambda: b"leaves it" in shown, takes=False, reads=True)
# No Ctrl-] in it, and no end of it is like another's.
paste = random.Random(7).randbytes(1 << 20).replace(b"\x1d", b"]")
if how == "all":
    # All is typed and nothing is taken; what the machine says is shown.
    left = paste
    until(lambda: not left, takes=False, reads=True)
    machine.sendall(b"in between")
    until(lambda: b"in between" in shown, takes=False, reads=True)
    # Now it takes; and not a byte is lost.
    until(lambda: len(taken) == len(paste), takes=True, reads=True)
    if taken != paste:
        sys.exit("it took what was not typed")
    machine.close()
    sys.exit(to_end(takes=False, reads=True))
if how == "leave":
    # In the middle of it: nobody waits for a machine that takes nothing.
    left = paste + b"\x1d"
    status = to_end(takes=False, reads=True)
    if b"bytes or more did not get to it" not in shown:
        sys.exit(f"no word of it: {shown}")
    sys.exit(status)
if how == "short":
    left = b"one word\x1d"
    status = to_end(takes=False, reads=True)
    machine.setblocking(True)
    while got := machine.recv(100):
        taken += got
    if taken != b"one word" or b"warning" in shown:
        sys.exit(f"{taken} {shown}")
    sys.exit(status)
# A terminal that stands still: what is typed goes on, Ctrl-] leaves. It stands
# still once there is more for it, and it sleeps.
def sleeps():
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "S"


said = 0
while select.select([], [machine], [], 0)[1] or not sleeps():
    try:
        said += machine.send(b"x" * 4096)
    except BlockingIOError:
        pass
left = b"typed" + (b"\x1d" if how == "halted" else b"")
until(lambda: taken == b"typed", takes=True, reads=False)
if how == "halted":
    sys.exit(to_end(takes=False, reads=True))
# And when it goes on, all is there.
machine.close()
status = to_end(takes=False, reads=True)
if shown.count(b"x") != said:
    sys.exit(f"{shown.count(b'x')} of {said} bytes are shown")
sys.exit(status)
EOF
for how in all leave short halted later; do
	expect 0 timeout 300 python3 paste.py $how "$VMSNAP"
	rm home/machines/web/console.sock
done
# Not a terminal: all of a file, and what comes, to the machine's end.
head -c 3000000 /dev/urandom >file
python3 - "$VMSNAP" <<'EOF'
import socket, subprocess, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("home/machines/web/console.sock")
listener.listen()
p = subprocess.Popen([sys.argv[1], "console", "web"], stdin=open("file"),
                     stdout=open("shown", "wb"))
try:
    machine = listener.accept()[0]
    machine.settimeout(60)
    machine.sendall(b"y" * 1000000)
    taken = b""
    while len(taken) < 3000000:
        taken += machine.recv(1 << 20)
    assert taken == open("file", "rb").read()
    machine.sendall(b"z" * 1000000)
    machine.close()
    assert p.wait(60) == 0
finally:
    p.kill()
assert open("shown", "rb").read() == b"y" * 1000000 + b"z" * 1000000
EOF
