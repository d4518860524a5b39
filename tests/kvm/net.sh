#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A network of a machine on KVM, in a network namespace of the test's own: over a
# tap (ARP, ping, UDP both ways with checksums left to the other side, frames
# over several buffers, a reset, pauses, an interface that is switched off and
# one that vanishes) and over passt (DHCP, a port passed on, the host's loopback
# only when it is given, a passt that dies, none left behind). With root only
# for the namespace: the machines are run by root, and by a user with no right
# but to /dev/kvm.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root, for a network namespace"
[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"
[ -n "$(command -v passt)" ] || skip "passt is not installed"

export VMSNAP_HOME=$TMP/home
ns=vmsnap-net-$$
elf=$BUILD/tests/kvm/net.elf
user=65534
as_user() {
	setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all \
		--bounding-set=-all "$@"
}
in_ns() { ip netns exec "$ns" "$@"; }
# As in_ns, as a user who has /dev/kvm and /dev/net/tun as anybody may: nodes of
# our own in a mount namespace, so that the host's stay as they are.
in_ns_as_user() {
	in_ns unshare -m -- bash -ec '
		mount --bind "$1/kvm" /dev/kvm
		mount --bind "$1/tun" /dev/net/tun
		shift
		exec "$@"' - "$TMP/nodes" setpriv --reuid $user --regid $user \
		--clear-groups --inh-caps=-all --bounding-set=-all "$@"
}
run() { in_ns "$VMSNAP" run "$@"; }
trap 'vmsnap rm -q --force --all 2>/dev/null || :
	vmsnap --home "$TMP/plain" rm -q --force --all 2>/dev/null || :
	ip netns del "$ns" 2>/dev/null || :' EXIT

ip netns add "$ns"
in_ns ip link set lo up
in_ns ip tuntap add dev tap0 mode tap user $user
in_ns ip addr add 10.77.0.1/24 dev tap0
in_ns ip link set tap0 mtu 9000 up
# What passt takes for the way out.
in_ns ip tuntap add dev out0 mode tap
in_ns ip addr add 10.78.0.2/24 dev out0
in_ns ip link set out0 up
in_ns ip route add default via 10.78.0.1 dev out0

# udp ADDRESS PORT SIZE: such a datagram comes back as it was; some tries.
udp() {
	in_ns python3 - "$@" <<-'PY'
	import os, socket, sys
	address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
	data = os.urandom(size)
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
	    s.settimeout(2)
	    s.connect((address, port))
	    for i in range(15):
	        try:
	            s.send(data)
	            if s.recv(65536) == data:
	                sys.exit(0)
	        except (TimeoutError, ConnectionRefusedError):
	            pass
	sys.exit("nothing came back from %s:%d, %d bytes" % (address, port, size))
	PY
}
# ping ADDRESS SIZE: the echo has the same bytes; some tries.
ping() {
	in_ns python3 - "$@" <<-'PY'
	import os, socket, struct, sys
	head, data = b"\x08\0\0\0\x12\x34\0\1", os.urandom(int(sys.argv[2]))
	sum = sum(struct.unpack(">%dH" % (len(head + data) // 2), head + data))
	while sum >> 16:
	    sum = (sum & 0xffff) + (sum >> 16)
	packet = head[:2] + struct.pack(">H", 0xffff ^ sum) + head[4:] + data
	with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
	    s.settimeout(2)
	    for i in range(15):
	        s.sendto(packet, (sys.argv[1], 0))
	        try:
	            while True:
	                answer = s.recv(65536)[20:]
	                if answer[0] == 0 and answer[4:] == packet[4:]:
	                    sys.exit(0)
	        except TimeoutError:
	            pass
	sys.exit("no echo from %s" % sys.argv[1])
	PY
}
# order ADDRESS PORT WORD: to its port 9.
order() {
	in_ns python3 -c 'import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
    sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))' "$@"
}
log_has() { grep -Eqx "$2" "$VMSNAP_HOME/machines/$1/console.log"; }
log_count() { [ "$(grep -cx "$2" "$VMSNAP_HOME/machines/$1/console.log")" -ge "$3" ]; }
is_state() {
	[ "$(vmsnap ps --json | jq -r ".machines[] | select(.name == \"$1\") | .state")" = "$2" ]
}
# What a client of its control socket is told, from here on; $! listens.
listen() {
	: >"$2"
	python3 - "$VMSNAP_HOME/machines/$1/control.sock" >"$2" <<-'PY' &
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect(sys.argv[1])
	    s.sendall(b'{"do": "events"}\n')
	    while data := s.recv(4096):
	        sys.stdout.write(data.decode())
	        sys.stdout.flush()
	PY
	until_true grep -q '"ok": *true' "$2"
}
no_passt() { [ -z "$(passts)" ]; }
# Those of this namespace.
passts() {
	local inode pid
	inode=$(in_ns readlink /proc/self/ns/net)
	for pid in $(pgrep -x 'passt(.avx2)?' || :); do
		[ "$(readlink "/proc/$pid/ns/net" || :)" != "$inode" ] || echo "$pid"
	done
}

# ---- what can't be ----

expect 2 run t --kernel "$elf" --net tap
errs 'user, user,tcp'
expect 2 run t --kernel "$elf" --net none --mac 52:54:00:11:22:33
expect 2 run t --kernel "$elf" --net user --mac ff:54:00:11:22:33
expect 6 run t --kernel "$elf" --net tap=tap9
errs "no interface 'tap9'.*ip tuntap add dev tap9"
expect 6 run t --kernel "$elf" --net tap=lo
expect 0 vmsnap ps
silent out

# ---- tap ----

expect 0 run -q web --kernel "$elf" --memory 16M --net tap=tap0 \
	--mac 52:54:00:AA:00:01 \
	--append 'ip=10.77.0.2 gateway=10.77.0.1 call=9'
until_true log_has web up
log_has web 'mac 52:54:0:aa:0:1' || fail "another address"
log_has web 'mtu 9000' || fail "another MTU than its interface's"
log_has web 'with offloads' || fail "no offloads"
expect 5 run -q two --kernel "$elf" --memory 16M --net tap=tap0
errs "interface 'tap0' is another machine's"
listen web events
listener=$!
for size in 1 100 1400 5000 8900; do udp 10.77.0.2 7 $size; done
ping 10.77.0.2 56
ping 10.77.0.2 8000
# The guest resets itself: another driver, the same network.
order 10.77.0.2 9 r
until_true log_count web up 2
udp 10.77.0.2 7 5000
# What went through is counted.
python3 - "$VMSNAP_HOME/machines/web/control.sock" >status <<-'PY'
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(b'{"do": "status"}\n')
    lines = s.makefile()
    lines.readline()
    print(lines.readline())
PY
jq -e '.net.up and .net.received_frames > 8 and .net.sent_bytes > 24000 and
	.net.sent_dropped == 0' status >/dev/null || fail "$(cat status)"
# Paused it does not answer; then what waited comes through.
expect 0 vmsnap pause web
order 10.77.0.2 9 x
expect 0 vmsnap resume web
udp 10.77.0.2 7 64
# Switched off by the admin, and on again.
in_ns ip link set tap0 down
until_true log_has web 'link down'
in_ns ip link set tap0 up
until_true log_has web 'link up'
udp 10.77.0.2 7 64
expect 0 vmsnap stop --force web
expect 0 run -q web
until_true log_count web up 3
udp 10.77.0.2 7 1400
kill $listener 2>/dev/null || :
listen web events
listener=$!
# It vanishes: the guest goes on, and knows; nothing spins.
in_ns ip link del tap0
until_true log_count web 'link down' 2
until_true grep -q '"event": *"net".*"down"' events
grep -q 'network is down' "$VMSNAP_HOME/machines/web/agent.log" ||
	fail "agent.log does not tell of it"
is_state web running || fail "it did not outlive its interface"
expect 0 vmsnap pause web
expect 0 vmsnap resume web
expect 0 vmsnap stop --force web
expect 6 run web
errs "no interface 'tap0'"
expect 0 vmsnap rm web

# ---- passt ----

# What answers on the host's own loopback.
: >server.out
in_ns python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 4711))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    print(data.decode(), flush=True)
    s.sendto(data, peer)' >server.out &
server=$!
until_true grep -q ready server.out

expect 0 run -q user --kernel "$elf" --memory 16M \
	--net user,host,udp=127.0.0.1/7007:7,udp=7009:9,tcp=7010 --append 'dhcp call=4711'
until_true log_has user 'address 10.78.0.2'
log_has user 'without offloads' || fail "offloads over passt"
until_true log_has user 'the gateway answers'
grep -q hello server.out || fail "the host heard nothing"
for size in 1 1400; do udp 127.0.0.1 7007 $size; done
mac=$(jq -r .net.mac "$VMSNAP_HOME/machines/user/machine.json")
[[ $mac == 52:54:00:* ]] || fail "its address is $mac"
[ -n "$(passts)" ] || fail "no passt is seen"
# A port is taken: said, before a guest runs.
expect 6 run -q two --kernel "$elf" --memory 16M --net user,tcp=7010
errs 'passt did not start: .*7010'
order 127.0.0.1 7009 r
until_true log_count user up 2
until_true log_count user 'the gateway answers' 2
udp 127.0.0.1 7007 64
# It ends with its machine, also with one that is killed; the next life has its
# ports and its address again.
kill -9 "$(cat "$VMSNAP_HOME/machines/user/agent.pid")"
until_true is_state user crashed
expect 0 run -q user
until_true log_count user 'the gateway answers' 3
[ "$(jq -r .net.mac "$VMSNAP_HOME/machines/user/machine.json")" = "$mac" ] ||
	fail "another address"
udp 127.0.0.1 7007 64
# passt is killed: a link that is down, and a machine that goes on.
listen user events
kill -9 $(passts)
until_true log_has user 'link down'
until_true grep -q '"event": *"net".*"down"' events
is_state user running || fail "it did not outlive passt"
expect 0 vmsnap stop --force user
expect 0 vmsnap rm user
until_true no_passt

# Who is not given the host's loopback does not reach it.
: >server.out
expect 0 run -q user --kernel "$elf" --memory 16M --net user \
	--append 'dhcp call=4711'
until_true log_has user 'address 10.78.0.2'
expect 0 run -q other --kernel "$elf" --memory 16M --net user,host \
	--append 'dhcp call=4711'
until_true log_has other 'the gateway answers'
log_has user 'the gateway answers' && fail "reached the host's loopback"
expect 0 vmsnap rm --force --all
until_true no_passt

# Who says nothing gets passt's, where there is a way out; else none, and hears it.
expect 0 run user --kernel "$elf" --memory 16M --append dhcp
silent err
until_true log_has user 'address 10.78.0.2'
expect 0 vmsnap rm --force user
in_ns ip link del out0
expect 0 run user --kernel "$BUILD/tests/kvm/echo.elf" --memory 16M
errs 'no network: this host has no default route'
[ "$(jq -r .net "$VMSNAP_HOME/machines/user/machine.json")" = null ] ||
	fail "a network of nothing"
expect 0 vmsnap rm --force user
expect 6 run user --kernel "$elf" --memory 16M --net user
errs 'passt did not start'
kill $server

# ---- no root ----

mkdir nodes plain
mknod nodes/kvm c $((16#$(stat -L -c %t /dev/kvm))) $((16#$(stat -L -c %T /dev/kvm)))
mknod nodes/tun c 10 200
chmod 666 nodes/*
chmod 755 "$TMP"
chown $user plain
export VMSNAP_HOME=$TMP/plain
in_ns ip tuntap add dev tap0 mode tap user $user
in_ns ip addr add 10.77.0.1/24 dev tap0
in_ns ip link set tap0 up
in_ns ip tuntap add dev out0 mode tap
in_ns ip addr add 10.78.0.2/24 dev out0
in_ns ip link set out0 up
in_ns ip route add default via 10.78.0.1 dev out0
expect 0 in_ns_as_user "$VMSNAP" run -q tap --kernel "$elf" --memory 16M \
	--net tap=tap0 --append ip=10.77.0.2
expect 0 in_ns_as_user "$VMSNAP" run -q user --kernel "$elf" --memory 16M \
	--net user,host,udp=7007:7 --append dhcp
[ "$(stat -c %u "/proc/$(cat plain/machines/tap/agent.pid)")" != 0 ] ||
	fail "the agent is root's"
until_true log_has tap up
udp 10.77.0.2 7 1400
until_true log_has user 'address 10.78.0.2'
udp 127.0.0.1 7007 1400
# An interface of another's is not for who asks.
in_ns ip tuntap add dev tap1 mode tap user 12345
expect 6 in_ns_as_user "$VMSNAP" run -q no --kernel "$elf" --memory 16M \
	--net tap=tap1
errs "no right to the interface 'tap1'"
expect 0 as_user "$VMSNAP" rm -q --force --all
until_true no_passt
