#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The console on a terminal: Ctrl-] and signals leave it as it was, and the
# machine goes on; what was said before comes first.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
clean() {
	vmsnap rm -q --force --all 2>/dev/null || :
	vmsnap keeper stop -q --force 2>/dev/null || :
}
trap clean EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }

# attach.py HOW COMMAND...: types or signals that once the guest's words are there.
export PYTHONPATH=$TOP/tests/cli PYTHONDONTWRITEBYTECODE=1
cat >attach.py <<'EOF'
import os, signal, sys, termios
import on_terminal
how, command = sys.argv[1], sys.argv[2:]
pid, fd = on_terminal.start(command)
seen, done = b"", False
before = termios.tcgetattr(fd)
for seen in on_terminal.seen(fd):
    if b"Passphrase: " in seen and how == "^C" and not done:
        done = True
        os.write(fd, b"\x03")
    if b"up" in seen and how != "^C" and not done:
        done = True
        if termios.tcgetattr(fd)[3] & termios.ICANON:
            sys.exit("the terminal is not raw")
        if how == "leave":
            os.write(fd, b"x\x1d")
        else:
            os.kill(pid, getattr(signal, how))
print(seen.decode())
status = on_terminal.end(pid)
if termios.tcgetattr(fd)[:4] != before[:4]:
    sys.exit("the terminal is not as it was")
sys.exit(status)
EOF

expect 0 vmsnap run -q web --kernel "$BUILD/tests/kvm/echo.elf" --memory 4M --net none
until_true log_has web '^up'
expect 0 python3 attach.py leave "$VMSNAP" console web
until_true log_has web '^got 78'
expect 143 python3 attach.py SIGTERM "$VMSNAP" console web
expect 130 python3 attach.py SIGINT "$VMSNAP" console web
# A paste that is more than is kept on the way: the guest gets all of it.
cat >paste.py <<'EOF'
import os, select, sys
import on_terminal
pid, fd = on_terminal.start([sys.argv[1], "console", "web"])
size = int(sys.argv[2])
left, seen = b"y" * size, b""
for seen in on_terminal.seen(fd):
    if b"leaves it" in seen:
        break
while seen.count(b"got 79\r") + seen.count(b"got 79\n") < size:
    ready = select.select([fd], [fd] if left else [], [], 60)
    if not any(ready):
        sys.exit(f"nothing within a minute, after {len(seen)} bytes")
    if ready[0]:
        seen += os.read(fd, 65536)
    if ready[1]:
        left = left[os.write(fd, left[:4096]):]
os.write(fd, b"\x1d")
for rest in on_terminal.seen(fd):
    pass
sys.exit(on_terminal.end(pid))
EOF
expect 0 python3 paste.py "$VMSNAP" 12000
expect 0 vmsnap ps
says '^web +running'
expect 0 vmsnap rm --force web

# A passphrase that is asked for: interrupted, nothing is started, nor held.
vmsnap init -q
truncate -s 1M raw
vmsnap backup -q web raw
vmsnap run -q web --from web --kernel "$BUILD/tests/kvm/echo.elf" --memory 4M --net none
vmsnap stop -q --force web
vmsnap keeper stop -q
secret=$VMSNAP_PASSPHRASE
unset VMSNAP_PASSPHRASE
expect 130 python3 attach.py ^C "$VMSNAP" run web
says 'vmsnap: run: stopped by SIGINT.?$'
export VMSNAP_PASSPHRASE=$secret
expect 0 vmsnap run web
