#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# virtio-vsock on KVM: programs of the host reach the guest's ports by vsock.sock,
# the guest reaches theirs at vsock_PORT.sock; more than any buffer holds, slow
# ones beside quick ones, and ends that go away.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

log_has() { grep -q "$1" home/machines/web/console.log; }
tell() {
	python3 - "$1" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect("home/machines/web/console.sock")
	    s.sendall(sys.argv[1].encode())
	PY
}

expect 0 vmsnap run web --kernel "$BUILD/tests/kvm/vsock.elf" --memory 16M
until_true log_has '^up'

# From the host: said back, a megabyte of it, while another one reads nothing.
cat >calls.py <<'PY'
import socket

HOME = "home/machines/web/"

def call(port, path=HOME + "vsock.sock"):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(120)
    s.connect(path)
    s.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        c = s.recv(1)
        if not c:
            return s, line
        line += c
    return s, line

# Where somebody listens: a host that has no time for the guest within 10 s is
# asked again.
def connect(port, path=HOME + "vsock.sock"):
    for _ in range(20):
        s, line = call(port, path)
        if line:
            assert line.startswith(b"OK "), line
            return s
    raise SystemExit("nobody answers at port %d" % port)
PY
cat >client.py <<'PY'
import random, socket, threading
from calls import call, connect

def all_of(s):
    parts = []
    while data := s.recv(65536):
        parts.append(data)
    return b"".join(parts)

slow = connect(22)
slow.setblocking(False)
stuck = 0
try:
    while True:
        stuck += slow.send(b"s" * 4096)
except BlockingIOError:
    pass
assert stuck > 65536, stuck

quick = connect(22)
data = random.Random(5).randbytes(1 << 20)
def pump():
    quick.sendall(data)
    quick.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=pump)
sender.start()
back = all_of(quick)
sender.join()
assert back == data, "%d bytes came back" % len(back)

slow.settimeout(120)
slow.shutdown(socket.SHUT_WR)
assert all_of(slow) == b"s" * stuck

s, line = call(23)
assert line == b"", line
PY
python3 client.py
until_true log_has '^over 22'

# A client that goes away in the middle takes nothing with it.
python3 - <<'PY'
from calls import connect
s = connect(22)
s.sendall(b"x" * 100000)
s.recv(5)
PY
until_true log_has '^reset 22'

# From the guest: nobody there; then somebody who is slow to read.
tell n
until_true log_has '^reset 5000'
cat >server.py <<'PY'
import os, socket, sys
from calls import connect
listener = socket.socket(socket.AF_UNIX)
os.chdir("home/machines/web")
listener.bind("vsock_80.sock")
listener.listen()
listener.settimeout(120)
open(sys.argv[1], "w").close()
s, _ = listener.accept()
s.settimeout(120)
if len(sys.argv) > 2:  # one that leaves
    s.recv(10)
    os.unlink("vsock_80.sock")
    sys.exit()
quick = connect(22, "vsock.sock")
quick.sendall(b"beside")
assert quick.recv(6, socket.MSG_WAITALL) == b"beside"
data = b""
while part := s.recv(1000):
    data += part
assert data == bytes(i % 251 for i in range(256 << 10)), len(data)
s.sendall(b"thanks")
s.close()
os.unlink("vsock_80.sock")
PY
python3 server.py "$TMP/ready" &
server=$!
until_true test -e ready
tell c
wait "$server" || fail "the server is not content"
until_true log_has '^the host says thanks'
until_true log_has '^over 5001'

python3 server.py "$TMP/ready2" leaves &
server=$!
until_true test -e ready2
tell c
wait "$server"
until_true log_has '^reset 5002'

# Stopped, or not there: nobody answers.
expect 0 vmsnap pause web
expect 0 vmsnap resume web
python3 client.py
tell q
has_stopped() { vmsnap ps | grep -Eq '^web +stopped '; }
until_true has_stopped
log_has '^done' || fail "the guest did not come to its end"
! log_has '^transport reset' || fail "no restore, and the transport was reset"
expect 0 vmsnap rm web
