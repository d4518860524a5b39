#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What befalls devices is told: to who listens at the control socket, and in
# agent.log; a guest that makes it happen all the time is told of sometimes.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/trouble.elf
small=
clean() {
	vmsnap rm -q --force --all 2>/dev/null || :
	[ -z "$small" ] || umount -l "$small" 2>/dev/null || :
}
trap clean EXIT

# events NAME: lets its guest begin, and puts what its agent says until it ends
# into $TMP/events.
events() {
	python3 - "home/machines/$1" >"$TMP/events" <<-'PY'
	import socket, sys
	def connect(name):
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(120)
	    s.connect(sys.argv[1] + "/" + name)
	    return s
	control, console = connect("control.sock"), connect("console.sock")
	lines = control.makefile("rw")
	lines.readline()
	lines.write('{"do": "events"}\n')
	lines.flush()
	lines.readline()
	console.sendall(b"g")
	for line in lines:
	    print(line, end="")
	PY
}
has_ended() { vmsnap ps | grep -Eq "^$1 +stopped "; }

expect 0 vmsnap run -q rules --kernel "$guest" --append rules --memory 16M
events rules
until_true has_ended rules
grep -q 'broke 300 rules' home/machines/rules/console.log || fail "not 300"
count=$(jq -c 'select(.event == "device" and .device == "virtio-rng" and
	.instance == 0 and (.text | contains("broke a rule")))' events | wc -l)
[ "$count" -ge 16 ] || fail "$count events"
[ "$count" -lt 300 ] || fail "all of it was told"
[ "$(grep -c '^kvm-agent: virtio-rng 0: ' home/machines/rules/agent.log)" = "$count" ] ||
	fail "agent.log: $(cat home/machines/rules/agent.log)"

# And a kernel that panics all the time; a first word is told at once.
expect 0 vmsnap run -q panics --kernel "$guest" --append panics --memory 16M
events panics
until_true has_ended panics
grep -q 'panicked 20000 times' home/machines/panics/console.log || fail "not 20000"
count=$(jq -c 'select(.event == "panic")' events | wc -l)
[ "$count" -ge 2 ] || fail "$count panics were told"
[ "$count" -lt 300 ] || fail "$count panics were told"

# A disk that is full says so once, however often it is.
if [ "$(id -u)" = 0 ] && mkdir full && mount -t tmpfs -o size=1M none full; then
	small=full
	truncate -s 8M full/disk.raw
	expect 0 vmsnap run -q full --kernel "$guest" --append disk --memory 16M \
		--disk full/disk.raw --in-place
	events full
	until_true has_ended full
	grep -q 'the disk has failed' home/machines/full/console.log || fail "did not fail"
	jq -c 'select(.event == "device")' events >told
	[ "$(wc -l <told)" = 1 ] || fail "told: $(cat told)"
	jq -e '.device == "virtio-blk" and .instance == 0 and
		(.text | test("a write failed at byte [0-9]+: No space left on device"))' told >/dev/null ||
		fail "told: $(cat told)"
	grep -q '^kvm-agent: virtio-blk 0: a write failed' home/machines/full/agent.log ||
		fail "agent.log: $(cat home/machines/full/agent.log)"
fi
