#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A reset reads the kernel from the disk again, and whoever reads that for the
# machine stands still just then: it answers meanwhile, is switched off at once,
# and goes on when it can.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"
. "$TOP/tests/kvm/lib_bzimage.sh"

export VMSNAP_HOME=$TMP/home
keeper=
clean() {
	[ -z "$keeper" ] || kill -CONT "$keeper" 2>/dev/null || :
	vmsnap rm -q --force --all 2>/dev/null || :
	vmsnap keeper stop -q --force 2>/dev/null || :
}
trap clean EXIT

# ask LINE: its reply, of a connection of its own.
ask() {
	python3 - home/machines/web/control.sock "$1" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.settimeout(60)
	    s.connect(sys.argv[1])
	    lines = s.makefile("rw")
	    lines.readline()
	    lines.write(sys.argv[2] + "\n")
	    lines.flush()
	    print(lines.readline(), end="")
	PY
}
waits() { ask '{"do": "status"}' | grep -q 'its kernel is being read'; }
starts() { [ "$(grep -c 'its initrd' home/machines/web/console.log)" = "$1" ]; }
# The reset has come as far as that, with nobody there who reads.
reset_alone() {
	kill -STOP "$keeper"
	ask '{"do": "reset"}' | grep -q '"ok":true' || fail "no reset"
	until_true waits
}

uuid=01234567-89ab-cdef-0123-456789abcdef
mkdir -p root/boot root/etc root/sbin
make_bzimage root/boot/vmlinuz-1 stays
printf 'its initrd' >root/boot/initrd.img-1
mkfs.ext4 -q -F -U $uuid -d root raw 16M
vmsnap init -q
vmsnap backup -q boot raw
expect 0 vmsnap run -q web --from boot --memory 64M
until_true starts 1
keeper=$(vmsnap keeper status --json | jq -r '.keepers[0].process')

reset_alone
expect 0 vmsnap ps
says '^web +running .*its kernel is being read'
# A pause that comes meanwhile is taken back.
ask '{"do": "pause"}' >paused &
asker=$!
resumed() { ask '{"do": "resume"}' | grep -q '"ok":true'; }
until_true resumed
wait "$asker"
grep -q '"error":"invalid"' paused || fail "taken back: $(cat paused)"
starts 1 || fail "it has started"
kill -CONT "$keeper"
until_true starts 2

reset_alone
expect 0 vmsnap stop -q --force web
expect 0 vmsnap ps
says '^web +stopped .*turned off by a client'
kill -CONT "$keeper"
expect 0 vmsnap run -q web
until_true starts 3
