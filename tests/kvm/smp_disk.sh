#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Eight processors, on as many cores as there are, that all write to one disk and
# read it back, each by a queue and an interrupt of its own (smp_disk.c), while the
# machine is paused and resumed. Over a raw file and over an image, with rings
# and, as where a host forbids them, with threads.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
log_has() { grep -Eq -e "$2" "home/machines/$1/console.log"; }
is_state() { [ "$(vmsnap ps | awk -v name="$1" '$1 == name { print $2 }')" = "$2" ]; }
has_ended() { ! is_state "$1" running; }
tell() { # NAME BYTES
	python3 -c '
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(sys.argv[2].encode())' "home/machines/$1/console.sock" "$2"
}

play() { # NAME DISK
	expect 0 vmsnap run -q "$1" --kernel "$BUILD/tests/kvm/smp_disk.elf" --memory 16M \
		--cpus 8 --in-place --disk "$2"
	until_true log_has "$1" '^8 queues'
	for _ in 1 2 3 4 5; do
		expect 0 vmsnap pause "$1"
		is_state "$1" paused || fail "$(vmsnap ps)"
		expect 0 vmsnap resume "$1"
	done
	tell "$1" q
	until_true has_ended "$1"
	is_state "$1" stopped && log_has "$1" '^done' ||
		fail "$(vmsnap ps; cat "home/machines/$1/console.log")"
}
# look NAME FILE: it holds what the guest says it has written.
look() {
	python3 - "home/machines/$1/console.log" "$2" <<-'PY'
	import re, struct, sys
	parts = re.findall(r"^cpu (\d+): (\d+) rounds", open(sys.argv[1]).read(), re.M)
	assert len(parts) == 8, parts
	pieces, piece = 32, 4096
	with open(sys.argv[2], "rb") as disk:
	    for cpu, rounds in (map(int, part) for part in parts):
	        for round in range(rounds - pieces + 1, rounds + 1):
	            word = (round << 8 | cpu) * 0x9e3779b97f4a7c15 % 2**64
	            disk.seek((cpu * pieces + round % pieces) * piece)
	            assert disk.read(piece) == struct.pack("<Q", word) * (piece // 8), (
	                "cpu %d, round %d" % (cpu, round))
	PY
}

for io in "" threads; do
	export VMSNAP_IO=$io
	rm -f disk.raw disk.vsi* exported.raw
	truncate -s 8M disk.raw
	play "raw$io" disk.raw
	look "raw$io" disk.raw
	vmsnap image create -q disk.vsi --size 8M
	play "image$io" disk.vsi
	vmsnap image export -q disk.vsi exported.raw
	look "image$io" exported.raw
done
expect 0 vmsnap rm -q --all
