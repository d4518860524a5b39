#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clients of the sockets that flood or never read, all that may connect: others
# are answered, the guest goes on, and the agent's memory stays bounded.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }

expect 0 vmsnap run -q web --kernel "$BUILD/tests/kvm/echo.elf" --memory 4M
until_true log_has web '^up'
# Their buffers, at most, and what an agent of 4 MiB has anyway.
most=$((64 << 20))
! sanitized || most=$((1 << 40))
python3 - home/machines/web $most <<'PY' || fail "the other clients"
import json, socket, sys, threading

def connect(name):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1] + "/" + name)  # waits where others queue
    s.settimeout(60)
    return s

def flood(s, data):
    try:
        while True:
            s.sendall(data)
    except OSError:
        pass

bad = []
def start(name, data, reads):
    s = connect(name)
    bad.append(s)
    threading.Thread(target=flood, args=(s, data), daemon=True).start()
    if reads:
        def read():
            try:
                while s.recv(65536):
                    pass
            except OSError:
                pass
        threading.Thread(target=read, daemon=True).start()

status = b'{"do": "status"}\n' * 64
for i in range(4):
    start("control.sock", status, False)
    start("control.sock", status, True)
    start("control.sock", b'{"do": "' + b"x" * 65536, False)
    start("console.sock", b"z" * 4096, i % 2 == 0)
start("agent.sock", b"{" * 4096, False)

control = connect("control.sock").makefile("rw")
console = connect("console.sock")
assert json.loads(control.readline())["type"] == "machine-control"
most = 0
for what in 10 * ["status", "pause", "status", "resume"]:
    control.write(json.dumps({"do": what}) + "\n")
    control.flush()
    reply = json.loads(control.readline())
    assert reply["ok"], (what, reply)
    most = max(most, reply.get("resident_bytes", 0))
assert most < int(sys.argv[2]), most
# The guest answers what is typed, also between the floods.
text = b""
while b"got 7a" not in text:
    text += console.recv(65536)
for s in bad:
    s.shutdown(socket.SHUT_RDWR)
PY
expect 0 vmsnap pause -q web
expect 0 vmsnap resume -q web
expect 0 vmsnap stop -q --force web
expect 0 vmsnap ps
says '^web +stopped .*turned off by a client'
