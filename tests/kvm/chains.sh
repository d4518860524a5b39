#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Chains that can't be, on each queue of each virtio device (chains.c): the device
# complains, is reset, and works; the agent answers meanwhile, and tells of each device.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root, for a network namespace"
[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"

export VMSNAP_HOME=$TMP/home
ns=vmsnap-chains-$$
clean() {
	vmsnap rm -q --force --all 2>/dev/null || :
	ip netns del "$ns" 2>/dev/null || :
}
trap clean EXIT
in_ns() { ip netns exec "$ns" "$@"; }
log_has() { grep -Eq -e "$2" "home/machines/$1/console.log"; }

ip netns add "$ns"
in_ns ip tuntap add dev tap0 mode tap
in_ns ip link set tap0 up
truncate -s 4M disk.raw
expect 0 in_ns "$VMSNAP" run -q web --kernel "$BUILD/tests/kvm/chains.elf" --memory 64M \
	--cpus 2 --disk disk.raw --in-place --net tap=tap0
until_true log_has web '^up'
python3 - home/machines/web <<'PY' || fail "no answer: $(cat home/machines/web/console.log)"
import json, socket, sys

def connect(name):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(sys.argv[1] + "/" + name)
    return s

control = connect("control.sock").makefile("rw")
events = connect("control.sock").makefile("rw")
for file in control, events:
    assert json.loads(file.readline())["type"] == "machine-control"
events.write('{"do": "events"}\n')
events.flush()
assert json.loads(events.readline())["ok"]
console = connect("console.sock")
console.sendall(b"g")
seen = set()
wanted = {"virtio-" + x for x in ("net", "blk", "console", "rng", "balloon", "vsock")}
while seen < wanted:
    event = json.loads(events.readline())
    assert event.get("state") != "crashed", event
    if event.get("event") != "device" or event["device"] in seen:
        continue
    assert "broke a rule" in event["text"], event
    seen.add(event["device"])
    for what in "status", "pause", "status", "resume":
        control.write(json.dumps({"do": what}) + "\n")
        control.flush()
        reply = json.loads(control.readline())
        assert reply["ok"], (what, reply)
console.sendall(b"q")
PY
has_ended() { ! vmsnap ps | grep -Eq '^web +running '; }
until_true has_ended
expect 0 vmsnap ps
says '^web +stopped .*powered off'
for device in net blk console rng balloon vsock; do
	log_has web "^$device, [1-9][0-9]* queues" || fail "$device did not get its part"
	grep -q "^kvm-agent: virtio-$device 0: " home/machines/web/agent.log ||
		fail "agent.log: $(cat home/machines/web/agent.log)"
done
expect 0 vmsnap rm -q web
