#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Machines as people have them: run, ps, console, pause, resume, stop, rm; in the
# background, twice the same name, with an agent that is killed or stuck.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guests=$BUILD/tests/kvm
crowd=
clean() {
	[ -z "$crowd" ] || kill "$crowd" 2>/dev/null || :
	vmsnap rm -q --force --all 2>/dev/null || :
}
trap clean EXIT

# state NAME WORD: by and by.
is_state() {
	[ "$(vmsnap ps --json | jq -r ".machines[] | select(.name == \"$1\") | .state")" = "$2" ]
}
state() { until_true is_state "$1" "$2"; }
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
# tell NAME BYTES: at its console.
tell() {
	python3 - "home/machines/$1/console.sock" "$2" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect(sys.argv[1])
	    s.sendall(sys.argv[2].encode())
	PY
}

expect 0 vmsnap ps
silent out
expect 4 vmsnap run web
errs "no machine 'web'"
expect 2 vmsnap run ../web --kernel "$guests/echo.elf"
errs "no name for a machine"
expect 4 vmsnap run web --kernel nothing
errs "nothing"
# More than the host has, which the guest does not use.
much=$(awk '$1 == "MemTotal:" { print int($2 / 2^20) + 2 }' /proc/meminfo)
expect 0 vmsnap run -q much --kernel "$guests/echo.elf" --memory "${much}G"
errs "warning: --memory: $much.0 GiB, and this host has"
expect 0 vmsnap rm -q --force much
expect 2 vmsnap run web --kernel "$guests/echo.elf" --memory 1000000
errs 'multiple of 2'
expect 2 vmsnap run web --kernel "$guests/echo.elf" --cpu 486
errs "no CPU is called"
expect 2 vmsnap run web --kernel "$guests/echo.elf" --cpu-weight 0
expect 2 vmsnap run web --kernel "$guests/echo.elf" --io-weight 10001
# A limit that this host can't keep is refused, and nothing is left of it.
group=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
if [ "$(id -u)" != 0 ] || ! grep -qw memory "${group:-/}/cgroup.controllers" 2>/dev/null; then
	expect 6 vmsnap run web --kernel "$guests/echo.elf" --memory 4M --memory-max 64M
	errs 'limits are not available here'
else
	expect 0 vmsnap run -q web --kernel "$guests/echo.elf" --memory 4M --memory-max 64M
	own=$(sed -n 's/^0:://p' "/proc/$(cat home/machines/web/agent.pid)/cgroup")
	[ "$(cat "$group$own/memory.max")" = $((64 * 1024 * 1024)) ] ||
		fail "the limit is $(cat "$group$own/memory.max")"
	expect 0 vmsnap stop -q --force web
	[ ! -e "$group$own" ] || fail "its cgroup is left"
	expect 0 vmsnap run -q web
	expect 0 vmsnap rm --force web
	[ ! -e "$group$own" ] || fail "its cgroup is left"
fi
expect 0 vmsnap ps
silent out

expect 0 vmsnap run web --kernel "$guests/echo.elf" --memory 16M
says "machine 'web' runs"
until_true log_has web '^up'
expect 1 vmsnap run web --kernel "$guests/echo.elf"
errs "machine 'web' exists"
expect 5 vmsnap run web
errs 'is running'
expect 5 vmsnap rm web
expect 0 vmsnap ps
says '^web +running +1 +16.0 MiB'
expect 0 vmsnap ps --json
jq -e '.type == "machines" and .machines[0].state == "running" and
	.machines[0].memory_bytes == 16777216 and .machines[0].cpus == 1 and
	.machines[0].resident_bytes > 0 and .machines[0].cause == null' out >/dev/null ||
	fail "ps --json: $(cat out)"

# What is typed arrives; what came before is shown to who comes later.
tell web a
until_true log_has web '^got 61'
mkfifo typing
timeout 60 "$VMSNAP" console web <typing >seen &
viewer=$!
exec 9>typing
seen() { grep -q '^up' seen && grep -q '^got 61' seen; }
until_true seen
printf z >&9
seen_z() { grep -q '^got 7a' seen; }
until_true seen_z

# Paused it does not answer, and goes on where it was.
expect 0 vmsnap pause web
is_state web paused || fail "not paused"
expect 2 vmsnap pause web
errs 'it is paused|is paused'
tell web b
expect 0 vmsnap resume web
until_true log_has web '^got 62'
expect 2 vmsnap resume web

# Turned off, and started again by its name alone.
expect 0 vmsnap stop --force web
is_state web stopped || fail "not stopped"
wait "$viewer" || fail "the console's end is no success"
exec 9>&-
expect 0 vmsnap ps
says 'stopped .*turned off by a client'
for verb in pause console; do
	expect 1 vmsnap $verb web
	errs "not running: 'vmsnap ps' says how it ended, 'vmsnap run web' starts it"
done

# More than the log may hold: its newer half is kept.
head -c 1048000 /dev/zero | tr '\0' x >home/machines/web/console.log
expect 0 vmsnap run web
until_true log_has web 'xup'
tell web p
tell web c
until_true log_has web '^got 63'
size=$(stat -c %s home/machines/web/console.log)
[ "$size" -gt 500000 ] && [ "$size" -lt 600000 ] || fail "console.log: $size bytes"

# The guest ends by itself; by its power button; or hears nothing.
tell web q
until_true is_state web stopped
expect 0 vmsnap ps
says 'the guest powered off'
expect 0 vmsnap run -q web
until_true log_has web '^up'
expect 0 vmsnap stop web
says "machine 'web' stopped"
is_state web stopped || fail "not stopped"
expect 0 vmsnap run -q deaf --kernel "$guests/echo.elf" --append deaf --memory 4M
expect 1 vmsnap stop --timeout 1 deaf
errs 'still runs after 1 s: .vmsnap stop --force deaf. turns it off'
is_state deaf running || fail "deaf is gone"
expect 0 vmsnap rm --force deaf

# An agent that is killed: seen, named, and it runs again.
expect 0 vmsnap run -q web
silent out
kill -9 "$(cat home/machines/web/agent.pid)"
state web crashed
expect 0 vmsnap ps
says 'went down with it'
expect 0 vmsnap run -q web

# One that does not answer is ended by force.
kill -STOP "$(cat home/machines/web/agent.pid)"
is_state web silent || fail "one that does not answer is not told"
# It was not asked, and 90 s did not go by.
expect 1 vmsnap stop web
errs 'does not answer'
# And has no room for more who would ask: they wait no longer for that.
mkfifo full
python3 - home/machines/web/control.sock >full <<-'PY' &
import signal, socket, sys
peers = []
try:
    while True:
        peers.append(socket.socket(socket.AF_UNIX))
        peers[-1].setblocking(False)
        peers[-1].connect(sys.argv[1])
except BlockingIOError:
    print(len(peers), flush=True)
signal.pause()
PY
crowd=$!
read -r peers <full
[ "$peers" -gt 1 ] || fail "nobody is connected"
expect 0 vmsnap stop --force web
kill "$crowd"
is_state web crashed || fail "still there"

# Its disks are found by it, in place; a description outlives the stop.
truncate -s 8M a.raw
vmsnap image create -q b.vsi --size 8M
expect 2 vmsnap run disks --kernel "$guests/echo.elf" --in-place
errs '--in-place: of which --disk'
expect 4 vmsnap run disks --kernel "$guests/echo.elf" --in-place --disk no.raw
expect 0 vmsnap run disks --kernel "$guests/echo.elf" --memory 4M --in-place \
	--disk a.raw --disk b.vsi
expect 5 vmsnap image check --repair b.vsi
expect 0 vmsnap stop --force disks
expect 0 vmsnap image check b.vsi
cp b.vsi whole.vsi
: >b.vsi
expect 3 vmsnap run disks
errs "b.vsi' is not an image"
cp whole.vsi b.vsi
expect 0 vmsnap run disks
[ "$(jq -r '.disks | map(.path) | join(" ")' home/machines/disks/machine.json)" = \
	"$TMP/a.raw $TMP/b.vsi" ] || fail "other disks"
expect 0 vmsnap rm --force disks

# Without a kernel it boots from its disk; what that is, it finds out itself.
expect 4 vmsnap run blank --disk a.raw --in-place
errs 'no kernel that can be found'
expect 2 vmsnap run blank --initrd a.raw
errs 'what shall start'
expect 0 vmsnap ps

# Several at once; --all; rm.
for n in 1 2 3 4; do
	expect 0 vmsnap run -q "many$n" --kernel "$guests/echo.elf" --memory 4M
done
[ "$(vmsnap ps | grep -c ' running ')" = 4 ] || fail "not four"
[ "$(agents | wc -l)" -ge 4 ] || fail "agents that are not seen"
expect 0 vmsnap pause --all
[ "$(vmsnap ps | grep -c ' paused ')" = 4 ] || fail "not four paused"
# What is so already is no failure, and of several there is one document.
expect 0 vmsnap resume many3 many1 --json
jq -es 'length == 1 and .[0].type == "resumed" and .[0].names == ["many3", "many1"]' out >/dev/null ||
	fail "resume --json: $(cat out)"
expect 0 vmsnap pause --all --json
jq -es 'length == 1 and .[0].type == "paused" and .[0].names == ["many1", "many3"]' out >/dev/null ||
	fail "pause --all --json: $(cat out)"
expect 0 vmsnap resume --all
expect 0 vmsnap resume --all --json
jq -es 'length == 1 and .[0].names == []' out >/dev/null || fail "resume --all --json: $(cat out)"
expect 4 vmsnap pause many2 nobody --json
jq -es 'length == 1 and .[0].names == ["many2"]' out >/dev/null || fail "pause --json: $(cat out)"
expect 0 vmsnap resume many2 --json
jq -es 'length == 1 and .[0].type == "resumed" and .[0].name == "many2"' out >/dev/null ||
	fail "resume --json: $(cat out)"
expect 2 vmsnap stop many2 --timeout never
errs '^vmsnap: stop: --timeout'
expect 4 vmsnap pause nobody
errs "no machine 'nobody'"
expect 2 vmsnap pause
expect 0 vmsnap stop --all --force
# A description that can't be read, whatever is wrong with it, is shown, and goes.
head -c 300000 /dev/zero >home/machines/many1/machine.json
ln -sf /etc/passwd home/machines/many2/machine.json
for n in 1 2; do
	expect 0 vmsnap ps
	says "^many$n +damaged "
	expect 3 vmsnap run many$n
done
expect 0 vmsnap rm --all
expect 0 vmsnap ps
silent out
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"

# In the foreground: on this terminal, and found by the others.
timeout 60 "$VMSNAP" run fore --kernel "$guests/echo.elf" --memory 4M \
	--foreground </dev/null >fore-out 2>fore-err &
fore=$!
state fore running
expect 0 vmsnap stop --force fore
wait "$fore" || fail "foreground: $(cat fore-err)"
grep -q '^up' fore-out || fail "foreground: nothing on standard output"
expect 0 vmsnap rm fore
# Turned off by a signal: no failure, and no death by it.
for signal in INT TERM; do
	env --default-signal=INT "$VMSNAP" run fore --kernel "$guests/echo.elf" --memory 4M \
		--foreground </dev/null >fore-out 2>fore-err &
	fore=$!
	state fore running
	kill -$signal "$fore"
	wait "$fore" || fail "foreground: status $? after SIG$signal: $(cat fore-err)"
	expect 0 vmsnap ps
	says '^fore +stopped .*turned off by a signal'
	expect 0 vmsnap rm fore
done
# Nobody is left, once the last has gone.
no_agents() { [ -z "$(agents)" ]; }
until_true no_agents
