#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host that has no memory: for a guest's RAM at the start, and later, when the
# guest uses more than its agent may have and the kernel ends that. Both are told
# as what they are; nothing is left, others go on, and the machine runs again.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/echo.elf
refuse=$BUILD/tests/kvm/host/refuse
group=
clean() {
	vmsnap rm -q --force --all 2>/dev/null || :
	[ -z "$group" ] || rmdir "$group" 2>/dev/null || :
}
trap clean EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
is_state() { [ "$(vmsnap ps | awk -v name="$1" '$1 == name { print $2 }')" = "$2" ]; }
tell() { # NAME BYTES
	python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(sys.argv[2].encode())' "home/machines/$1/console.sock" "$2"
}
# Until its end, what the agent of NAME says on its control socket.
listen() {
	python3 - "home/machines/$1/control.sock" >"$TMP/events" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.settimeout(60)
	    s.connect(sys.argv[1])
	    s.sendall(b'{"do": "events"}\n')
	    try:
	        while more := s.recv(4096):
	            print(more.decode(), end="", flush=True)
	    except ConnectionResetError:
	        pass
	PY
}

# RAM that can't be had.
words='RAM of 3221225472 bytes: Cannot allocate memory: give it less'
expect 1 timeout --kill-after=10 300 "$refuse" mmap=3 -- "$BUILD/kvm-agent" \
	--kernel "$BUILD/tests/kvm/hello.elf" --memory 3G </dev/null
errs "^kvm-agent: $words"
expect 1 "$refuse" mmap=3 -- "$VMSNAP" run web --kernel "$guest" --memory 3G
errs "^vmsnap: run: $words"
expect 0 vmsnap ps
silent out
[ -z "$(ls home/machines)" ] || fail "left: $(ls home/machines)"
[ -z "$(agents)" ] || fail "an agent is left"

if [ "$(id -u)" != 0 ]; then
	echo "what follows needs root"
	exit 77
fi

# ended NAME CAUSE: after it has used more than it may.
ended() {
	expect 0 vmsnap ps
	says "^$1 +crashed .*$2"
	until_true [ "$(agents)" = "$(cat home/machines/other/agent.pid)" ]
	expect 0 vmsnap run -q "$1"
	until_true log_has "$1" '^up'
	is_state other running || fail "the other one ended too"
	expect 0 vmsnap stop -q --force "$1"
}
expect 0 vmsnap run -q other --kernel "$guest" --memory 4M

v2=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
v1=$(awk '/ - cgroup .*[ ,]memory(,|$)/ { print $5; exit }' /proc/self/mountinfo)
limit=$((64 << 20))
if grep -qw memory "${v2:-/}/cgroup.controllers" 2>/dev/null; then
	cause='more memory than its limit: see --memory-max'
	expect 1 vmsnap run web --kernel "$guest" --memory 256M --memory-max 64K
	errs "$cause"
	expect 0 vmsnap run -q web --kernel "$guest" --memory 256M --memory-max 64M
elif [ -n "$v1" ] && mkdir "$v1/vmsnap-test-$$" 2>/dev/null; then
	# The same by other means: who limits it is not us, and so not known.
	cause='its agent, or the host, went down with it'
	group=$v1/vmsnap-test-$$
	sanitized && limit=$((512 << 20))
	echo "$limit" >"$group/memory.limit_in_bytes"
	expect 0 vmsnap run -q web --kernel "$guest" --memory $((limit * 4))
	cat home/machines/web/agent.pid >"$group/cgroup.procs"
else
	echo "this host gives no control group that limits memory"
	exit 77
fi
until_true log_has web '^up'
: >events
listen web &
listener=$!
until_true grep -q '"ok"' events
tell web m
wait "$listener" || fail "a client is left waiting"
! log_has web 'all RAM is in use' || fail "there was no limit"
ended web "$cause"
