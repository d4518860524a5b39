#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk that hangs: one that a test lets answer, then a file on a mount of ours
# whose server stands still. Pause and reset wait for it, nobody waits for them,
# and the machine is switched off at any moment.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

timeout --kill-after=10 300 "$BUILD/tests/kvm/host/hung" "$BUILD/tests/kvm/virtio.elf"

if [ ! -e /dev/fuse ] || [ "$(id -u)" != 0 ]; then
	echo "a mount needs root and /dev/fuse"
	exit 77
fi
export VMSNAP_HOME=$TMP/home
server=
clean() {
	[ -z "$server" ] || kill -CONT "$server" 2>/dev/null || :
	vmsnap rm -q --force --all 2>/dev/null || :
	umount -l mnt 2>/dev/null || :
}
trap clean EXIT

# ask SOCKET LINE...: each line's reply, of one connection.
ask() {
	python3 - "$@" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.settimeout(60)
	    s.connect(sys.argv[1])
	    lines = s.makefile("rw")
	    lines.readline()
	    for line in sys.argv[2:]:
	        lines.write(line + "\n")
	        lines.flush()
	        print(lines.readline(), end="")
	PY
}
control=home/machines/web/control.sock
log_has() { grep -q "$1" home/machines/web/console.log; }
# A request of the agent's is with the server.
hangs() { grep -qs request_wait_answer "/proc/$(cat home/machines/web/agent.pid)/task/"*/wchan; }
waits() { ask $control '{"do": "status"}' | grep -q 'requests to its disks'; }

head -c 8388608 /dev/zero >disk.raw
vmsnap init -q
vmsnap backup -q web disk.raw
mkdir mnt
"$VMSNAP" mount --writable --allow-other --foreground mnt &
server=$!
mounted() { [ -n "$(ls mnt 2>/dev/null)" ]; }
until_true mounted
disk=$(ls -d mnt/web/*/disk0.raw | head -1)
truncate -s 8M "$disk" 2>/dev/null || :

# The guest goes round its disk for ever; its server stops under it.
begin() {
	expect 0 vmsnap run -q web --kernel "$BUILD/tests/kvm/virtio.elf" \
		--append forever --memory 64M --disk "$disk" --in-place
	until_true log_has 'round 2$'
	kill -STOP "$server"
	until_true hangs
}

begin
ask $control '{"do": "pause", "id": 1}' '{"do": "status"}' >paused &
asker=$!
until_true waits
expect 0 vmsnap ps
says '^web +running .*requests to its disks'
# Others are answered, a pause is taken back, and asked for again.
expect 0 vmsnap resume -q web
wait "$asker"
grep -q '"error":"invalid".*"id":1' paused || fail "taken back: $(cat paused)"
ask $control '{"do": "pause", "id": 2}' >paused &
asker=$!
until_true waits
kill -CONT "$server"
wait "$asker"
grep -q '{"ok":true,"id":2}' paused || fail "paused at last: $(cat paused)"
expect 0 vmsnap resume -q web
rounds=$(grep -c round home/machines/web/console.log)
goes_on() { [ "$(grep -c round home/machines/web/console.log)" -gt "$rounds" ]; }
until_true goes_on
kill -STOP "$server"
until_true hangs

# Stopped in the middle of a pause: the reply comes, the guest is off, and the
# agent's own end does not need the disk for longer than stop --force has
# patience.
ask $control '{"do": "pause"}' >paused &
asker=$!
until_true waits
ask $control '{"do": "stop"}' >stopped
grep -q '{"ok":true}' stopped || fail "stop: $(cat stopped)"
wait "$asker"
grep -q '"error":"invalid".*stopped' paused || fail "ended: $(cat paused)"
expect 0 vmsnap ps
says '^web +stopped .*turned off by a client'
# A thread whose request the server has begun can't be killed before it ends.
status=0
vmsnap stop -q --force web 2>err || status=$?
[ "$status" = 0 ] || errs 'still runs'
kill -CONT "$server"
is_gone() { vmsnap rm -q web 2>/dev/null; }
until_true is_gone
