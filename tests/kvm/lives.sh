#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many lives: 200 starts and stops of one machine, 50 machines at once, 50 resets
# and pauses of one. Nothing is left: processes, sockets, mounts, files, and
# descriptors of an agent that lives on.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/echo.elf
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }

# What is there of ours, by kinds.
count_all() {
	local process namespaces=""

	for process in $(agents); do
		namespaces+=$(readlink "/proc/$process"/ns/*)$'\n'
	done
	echo "agents $(agents | wc -l)"
	echo "namespaces $(sort -u <<<"$namespaces" | wc -l)"
	echo "sockets $(grep -c "$TMP" /proc/net/unix || :)"
	echo "mounts $(grep -c "$TMP" /proc/self/mountinfo || :)"
	echo "files $(find "$TMP/home" | wc -l)"
}
gone() { [ -z "$(agents)" ]; }

vmsnap run -q one --kernel "$guest" --memory 4M
vmsnap stop -q --force one
until_true gone
count_all >before
for ((i = 0; i < 200; i++)); do
	"$VMSNAP" run -q one || fail "start $i"
	"$VMSNAP" stop -q --force one || fail "stop $i"
done
until_true gone
count_all >after
same before after

for ((i = 0; i < 50; i++)); do
	"$VMSNAP" run -q "m$i" --kernel "$guest" --memory 4M || fail "machine $i"
done
[ "$(agents | wc -l)" = 50 ] || fail "$(agents | wc -l) agents"
for ((i = 0; i < 50; i++)); do
	until_true log_has "m$i" '^up'
done
[ "$(vmsnap ps | grep -c ' running ')" = 50 ] || fail "not 50: $(vmsnap ps)"
expect 0 vmsnap stop -q --all --force
for ((i = 0; i < 50; i++)); do
	expect 0 vmsnap rm -q "m$i"
done
until_true gone
count_all >after
same before after

# One agent through resets and pauses: what it has open stays the same.
vmsnap run -q one
until_true log_has one '^up'
process=$(cat home/machines/one/agent.pid)
open_files() { find "/proc/$process/fd" -printf '%l\n' | sed 's/[0-9]\{3,\}//' | sort; }
threads() { find "/proc/$process/task" -mindepth 1 -maxdepth 1 | wc -l; }
turn() {
	python3 - home/machines/one/control.sock "$1" <<-'PY'
	import json, socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.settimeout(60)
	    s.connect(sys.argv[1])
	    lines = s.makefile("rw")
	    lines.readline()
	    def ask(what):
	        lines.write(json.dumps({"do": what}) + "\n")
	        lines.flush()
	        while True:
	            reply = json.loads(lines.readline())
	            if "event" not in reply:
	                break
	            events.append(reply["event"])
	        assert reply["ok"], reply
	    events = []
	    ask("events")
	    for i in range(int(sys.argv[2])):
	        ask("reset")
	        while "reset" not in events:
	            events.append(json.loads(lines.readline())["event"])
	        events.clear()
	        ask("pause")
	        ask("resume")
	PY
}
turn 1
open_files >before
threads >before-threads
turn 50
open_files >after
threads >after-threads
same before after
same before-threads after-threads
[ "$(cat "/proc/$process/comm")" = kvm-agent ] || fail "another process"
