#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest gives memory back: what it reports free, and what a client asks for by
# the balloon, the host has again, and `vmsnap ps` shows it.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

log_has() { grep -q "$1" home/machines/web/console.log; }
# tell BYTE WORDS: at its console, until it has said so.
tell() {
	python3 - "$1" <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect("home/machines/web/console.sock")
	    s.sendall(sys.argv[1].encode())
	PY
	until_true log_has "^$2"
}
# ask REQUEST: at its control socket; the answer is in $TMP/answer.
ask() {
	python3 - "$1" >answer <<-'PY'
	import socket, sys
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect("home/machines/web/control.sock")
	    lines = s.makefile("rw")
	    lines.readline()
	    lines.write(sys.argv[1] + "\n")
	    lines.flush()
	    print(lines.readline(), end="")
	PY
}
resident() { vmsnap ps --json | jq '.machines[0].resident_bytes'; }
mib=$((1024 * 1024))
# falls BEFORE MIB: it has so much less, but for 2 MiB that move of themselves.
falls() {
	local now
	now=$(resident)
	[ $((now + ($2 - 2) * mib)) -le "$1" ] || fail "from $1 to $now: no $2 MiB less"
}

expect 0 vmsnap run web --kernel "$BUILD/tests/kvm/balloon.elf" --memory 96M
until_true log_has '^up'
tell d 'dirty 1'
before=$(resident)
[ "$before" -gt $((32 * mib)) ] || fail "only $before bytes after 32 MiB were used"
tell r reported
falls "$before" 30
tell c zeros

# By the balloon, page by page.
tell d 'dirty 2'
before=$(resident)
ask '{"do": "balloon", "target_bytes": 83886080}'
jq -e .ok answer >/dev/null || fail "balloon: $(cat answer)"
tell b 'gave 4096 pages'
falls "$before" 16
ask '{"do": "status"}'
[ "$(jq .balloon_bytes answer)" = $((16 * mib)) ] || fail "status: $(cat answer)"
ask '{"do": "balloon", "target_bytes": 100663297}'
[ "$(jq -r .error answer)" = invalid ] || fail "more than there is: $(cat answer)"
expect 0 vmsnap pause web
ask '{"do": "balloon", "target_bytes": 4096}'
[ "$(jq -r .error answer)" = invalid ] || fail "while paused: $(cat answer)"
expect 0 vmsnap resume web
tell q done
