#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The storm of storm.sh with all devices that there are, while the other ends of
# its devices are busy too: frames on the tap, clients of vsock and of the guest
# agent's port, another size of the balloon. The tap vanishes in the middle of it,
# or passt dies. STORM_SEEDS, STORM_ROUNDS: as there.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"
. "$TOP/tests/kvm/lib_storm.sh"

[ "$(id -u)" = 0 ] || skip "needs root, for a network namespace"
[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"
[ -n "$(command -v passt)" ] || skip "passt is not installed"

ns=vmsnap-storm-$$
in_ns() { ip netns exec "$ns" "$@"; }
busy=
clean() {
	[ -z "$busy" ] || kill "$busy" 2>/dev/null || :
	vmsnap rm -q --force --all 2>/dev/null || :
	ip netns del "$ns" 2>/dev/null || :
}
trap clean EXIT
storm_command=(in_ns "$VMSNAP" run)

ip netns add "$ns"
in_ns ip link set lo up
# What passt takes for the way out.
in_ns ip tuntap add dev out0 mode tap
in_ns ip addr add 10.78.0.2/24 dev out0
in_ns ip link set out0 up
in_ns ip route add default via 10.78.0.1 dev out0
make_tap() {
	in_ns ip tuntap add dev tap0 mode tap
	in_ns ip link set tap0 up
}

# The other ends, as long as the machine is there.
cat >busy.py <<'PY'
import json, os, random, socket, sys, threading

home = sys.argv[1]
stop = threading.Event()

def unix(name):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(home + "/" + name)
    return s

def forever(act):
    def loop():
        while not stop.is_set():
            try:
                act()
            except OSError:
                pass  # it is full, or gone
            stop.wait(0.001)
    thread = threading.Thread(target=loop)
    thread.start()
    return thread

def frames():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        try:
            s.bind(("tap0", 0))
            for _ in range(64):
                s.send(b"\xff" * 6 + os.urandom(random.randrange(8, 1500)))
        except OSError:
            pass  # it has vanished, or is no tap

def noise(s):
    s.settimeout(0.01)
    try:
        s.sendall(os.urandom(random.randrange(100000)))
        s.recv(65536)
    except TimeoutError:
        pass

def vsock():
    with unix("vsock.sock") as s:
        s.sendall(b"CONNECT %d\n" % random.randrange(8))
        noise(s)

def agent():
    with unix("agent.sock") as s:
        noise(s)

def terminal():
    with unix("console.sock") as s:
        s.sendall(os.urandom(64))

# It is answered, whatever the guest does: that is what the test is about.
failures = []
def balloon():
    with unix("control.sock") as s:
        lines = s.makefile("rw")
        lines.readline()
        for _ in range(16):
            target = random.randrange(1, 64 << 20)
            try:
                lines.write(json.dumps({"do": "balloon", "target_bytes": target}) + "\n")
                lines.flush()
                if not lines.readline():
                    return
            except TimeoutError:
                failures.append("no answer on the control socket")
                stop.set()
                return

threads = [forever(act) for act in (frames, vsock, agent, terminal, balloon)]
print("busy", flush=True)
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
sys.exit(failures[0] if failures else 0)
PY

begin() { # NAME APPEND
	start "$1" "$2"
	mkfifo "$1.fifo"
	: >"$1.busy"
	in_ns python3 busy.py "home/machines/$1" <"$1.fifo" >"$1.busy" &
	busy=$!
	exec 7>"$1.fifo"
	until_true grep -q busy "$1.busy"
	for device in 1041 1042 1043 1044 1045 1053; do
		until_true log_has "$1" "^device 0x$device"
	done
}
end() {
	exec 7>&-
	wait "$busy" || fail "no answer in the storm"
	busy=
}
passts() {
	for pid in $(ip netns pids "$ns"); do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in
		passt*) echo "$pid" ;;
		esac
	done
}
# cut_off NAME COMMAND...: its network goes, unless it has come to its end before:
# this script may be slower than the storm.
cut_off() {
	"${@:2}"
	look "$1"
	in_time=$state
}
down_was_told() {
	[ "$in_time" = running ] || {
		echo "$1: over before its network went ($in_time)"
		return
	}
	grep -q 'network is down' "home/machines/$1/agent.log" ||
		broken "$1" "it was not told that its network went"
}

seeds=(${STORM_SEEDS:-3 4})
make_tap
storm_options=(--net tap=tap0)
begin tap "${seeds[0]}"
cut_off tap in_ns ip link del tap0
ask_all tap
ends_calm tap
end
down_was_told tap

storm_options=(--net user)
begin user "${seeds[-1]}"
cut_off user kill -9 $(passts)
ask_all user
ends_calm user
end
down_was_told user

make_tap
storm_options=(--net tap=tap0)
seed=${STORM_SEEDS:-$RANDOM$RANDOM}
begin wild "${seed%% *} wild"
ask_all wild
ends_wild wild
end
expect 0 vmsnap rm --all
