#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the host can do to a machine: no /dev/kvm, no right to it, one that is no
# KVM, a full disk under the console's log, signals.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/echo.elf
full=
clean() {
	vmsnap rm -q --force --all 2>/dev/null || :
	[ -z "$full" ] || umount -l "$full" 2>/dev/null || :
}
trap clean EXIT
log_has() { grep -q "$2" "$VMSNAP_HOME/machines/$1/console.log"; }
state() { vmsnap ps | awk -v name="$1" '$1 == name { print $2 }'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
gone() { [ -z "$(agents)" ]; }
# seen NAME BYTES REGEX: what comes from NAME's console once BYTES are typed has it.
seen() {
	python3 - "$VMSNAP_HOME/machines/$1/console.sock" "$2" "$3" <<-'PY'
	import re, socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.settimeout(60)
	    s.connect(sys.argv[1])
	    s.sendall(sys.argv[2].encode())
	    text = b""
	    while not re.search(sys.argv[3].encode(), text):
	        more = s.recv(65536)
	        assert more, text
	        text += more
	PY
}

# Signals: told as what they are.
expect 0 vmsnap run -q web --kernel "$guest" --memory 4M
until_true log_has web '^up'
kill -TERM "$(cat home/machines/web/agent.pid)"
until_true gone
expect 0 vmsnap ps
says '^web +stopped .*turned off by a signal'
expect 0 vmsnap run -q web
until_true log_has web '^up'
kill -KILL "$(cat home/machines/web/agent.pid)"
until_true is_state web crashed
until_true gone
expect 0 vmsnap run -q web
expect 0 vmsnap rm -q --force web

if [ "$(id -u)" != 0 ]; then
	echo "what follows needs root"
	exit 77
fi

# in_host COMMAND...: in a mount namespace where /dev is $TMP/dev.
mkdir dev
in_host() { unshare -m sh -c 'mount --rbind "$0" /dev && exec "$@"' "$TMP/dev" "$@"; }
for node in 'null 1 3' 'zero 1 5' 'random 1 8' 'urandom 1 9'; do
	read -r name major minor <<<"$node"
	mknod -m 666 "dev/$name" c "$major" "$minor"
done
if ! in_host true 2>err || ! { : >dev/null; } 2>/dev/null; then
	echo "no device nodes here: $(cat err)"
	exit 77
fi
refused() {
	expect 6 in_host "$VMSNAP" run web --kernel "$guest" --memory 4M
	errs "$1"
	expect 0 vmsnap ps
	silent out
	gone || fail "an agent is left"
}
refused 'this host has no /dev/kvm: switch virtualization on'
mknod -m 666 dev/kvm c 1 3
refused '/dev/kvm has version .* it is no KVM'
rm dev/kvm
# A node without a driver behind it.
mknod -m 666 dev/kvm c 10 254
refused 'this host has no /dev/kvm'
rm dev/kvm
mknod -m 600 dev/kvm c "$((0x$(stat -c %t /dev/kvm)))" "$((0x$(stat -c %T /dev/kvm)))"
cp "$BUILD/kvm-agent" "$guest" .
chmod 755 . kvm-agent echo.elf
status=0
in_host setpriv --reuid=65534 --regid=65534 --clear-groups \
	./kvm-agent --kernel echo.elf --memory 4M </dev/null >out 2>err || status=$?
[ "$status" = 6 ] || fail "exit status $status without a right to /dev/kvm: $(cat err)"
errs 'no right to open /dev/kvm: add this user to its group'

# A full disk: the log has what there was room for; the guest goes on, and who
# is connected sees all of it.
mkdir full
mount -t tmpfs -o size=512K none full
full=full
VMSNAP_HOME=$TMP/full
expect 0 vmsnap run -q web --kernel "$guest" --memory 4M
until_true log_has web '^up'
dd if=/dev/zero of=full/rest bs=4K status=none 2>/dev/null || :
for ((i = 0; i < 8; i++)); do
	seen web p 'line 39 of much'
done
size=$(stat -c %s full/machines/web/console.log)
seen web a 'got 61'
[ "$(stat -c %s full/machines/web/console.log)" = "$size" ] || fail "not full"
is_state web running || fail "the guest is gone: $(vmsnap ps)"
rm full/rest
seen web b 'got 62'
until_true log_has web 'got 62'
dd if=/dev/zero of=full/rest bs=4K status=none 2>/dev/null || :
expect 0 vmsnap stop -q --force web
expect 0 vmsnap ps
# How it ended has had its room since the start.
says '^web +stopped .*turned off by a client'
rm full/rest
expect 0 vmsnap rm -q web
