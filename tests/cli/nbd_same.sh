#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A live image behind NBD beside a raw file: qemu-io does the same random
# things to both, and no other tool finds a difference: qemu-img compare and
# convert, nbdcopy both ways, the map of nbdinfo. Its layer becomes its base in
# between, so that what is read comes from both.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in nbdkit nbdinfo nbdcopy qemu-io qemu-img; do
	command -v $tool >/dev/null || skip "no $tool"
done
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
seed=${NBD_SEED:-$((10#$(date +%N)))}
echo "seed $seed (NBD_SEED replays it)"

server=
stop() {
	local status=0
	[ -n "$server" ] || return 0
	kill "$server" 2>/dev/null || :
	wait "$server" || status=$?
	server=
	[ "$status" = 0 ] || fail "the server ended with $status"
}
trap '[ -z "$server" ] || kill -9 "$server"' EXIT
uri="nbd+unix:///?socket=$TMP/sock"
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
serve() {
	"$VMSNAP" nbd "$@" --socket "$TMP/sock" 2>>nbd-err &
	server=$!
	until_true ready
}

# make_commands SEED: qemu-io's commands, and the units (64 KiB) that must be a
# hole and the blocks (4 KiB) that must be data afterwards, for check_map.
# Requests that are under way together never overlap.
make_commands() {
	python3 - "$1" <<-'P'
	import json, random, sys
	rnd = random.Random(sys.argv[1])
	SIZE, BLOCK, UNIT = 16 << 20, 4096, 65536
	holes, data = set(), set()
	with open("commands", "w") as out:
	    for batch in range(40):
	        places = []
	        for _ in range(rnd.randint(1, 6)):
	            op = rnd.choice(["write"] * 4 + ["zero", "zero", "discard",
	                            "discard", "read"])
	            grain = rnd.choice([512, BLOCK, BLOCK, UNIT])
	            if op == "discard":
	                grain = max(grain, BLOCK)
	            length = rnd.randint(1, rnd.choice([8, 40])) * grain
	            length = min(length, 1 << 20)
	            at = rnd.randrange((SIZE - length) // grain + 1) * grain
	            if any(at < b and a < at + length for a, b in places):
	                continue
	            places.append((at, at + length))
	            flags = "-f " if rnd.random() < .1 and op != "discard" else ""
	            if op == "read":
	                out.write(f"aio_read -q {at} {length}\n")
	            elif op == "discard":
	                out.write(f"discard -q {at} {length}\n")
	            elif op == "zero":
	                may_unmap = "-u " if rnd.random() < .5 else ""
	                out.write(f"aio_write -q -z {may_unmap}{flags}"
	                          f"{at} {length}\n")
	            else:
	                out.write(f"aio_write -q -P {rnd.randint(1, 255)} "
	                          f"{flags}{at} {length}\n")
	            if op == "read":
	                continue
	            inside = range(-(-at // UNIT), (at + length) // UNIT)
	            touched = range(at // UNIT, -(-(at + length) // UNIT))
	            blocks = range(at // BLOCK, -(-(at + length) // BLOCK))
	            if op == "write":
	                holes.difference_update(touched)
	                data.update(blocks)
	            else:
	                holes.update(inside)
	                data.difference_update(blocks)
	        out.write("aio_flush\n")
	        if rnd.random() < .2:
	            out.write("flush\n")
	with open("expected", "w") as out:
	    json.dump([sorted(holes), sorted(data)], out)
	P
}
# do_commands URI-OR-FILE
do_commands() {
	qemu-io -f raw -d unmap "$1" <commands >qemu-out 2>&1 ||
		{ cat qemu-out >&2; fail "qemu-io on $1"; }
	! grep -Eqi 'fail|error|invalid|usage' qemu-out ||
		{ cat qemu-out >&2; fail "qemu-io on $1"; }
}
# No gap; what it calls zeros is zeros; what was given up is a hole; what was
# written is data.
check_map() {
	nbdinfo --map --json "$uri" >map
	python3 - <<-'P'
	import json
	twin = open("twin.raw", "rb").read()
	holes, data = json.load(open("expected"))
	at, kinds = 0, bytearray(len(twin) // 4096)
	for run in json.load(open("map")):
	    assert run["offset"] == at, (run, at)
	    at += run["length"]
	    assert run["type"] in (0, 3), run
	    if run["type"] == 0:
	        a, b = run["offset"] // 4096, -(-at // 4096)
	        kinds[a:b] = b"\1" * (b - a)
	    else:
	        assert not any(twin[run["offset"]:at]), f"no zeros: {run}"
	assert at == len(twin), at
	for unit in holes:
	    assert not any(kinds[unit * 16:unit * 16 + 16]), f"unit {unit}"
	for block in data:
	    assert kinds[block], f"block {block} is no data"
	assert holes and data
	P
}
no_difference() {
	qemu-img compare -q -f raw -F raw twin.raw "$uri" ||
		fail "qemu-img compare: seed $seed, $1"
	check_map || fail "the map: seed $seed, $1"
}

# A quarter of the disk has data; of that, some chunks are zeros.
disk twin.raw $((4 << 20)) "$seed"
truncate -s 16M twin.raw
vmsnap init -q
vmsnap backup -q web twin.raw
vmsnap image create -q disk.vsi --from web
for round in 1 2 3 4 5 6; do
	serve --image disk.vsi --writable
	make_commands "$seed $round"
	do_commands "$uri"
	do_commands twin.raw
	no_difference "round $round"
	if [ $round = 3 ]; then
		# Out, by one connection and by several; and in again.
		nbdcopy --connections=1 "$uri" one.raw
		nbdcopy --connections=4 --requests=32 "$uri" many.raw
		qemu-img convert -f raw -O raw "$uri" converted.raw
		qemu-img convert -f raw -O qcow2 "$uri" converted.qcow2
		for copy in one.raw many.raw converted.raw; do
			same twin.raw $copy
		done
		qemu-img compare -q twin.raw converted.qcow2 || fail "qcow2"
		disk other.raw $((16 << 20)) $((seed + 1))
		nbdcopy --connections=4 --flush other.raw "$uri"
		cp twin.raw before.raw
		cp other.raw twin.raw
		qemu-img compare -q -f raw -F raw twin.raw "$uri" ||
			fail "nbdcopy to it: seed $seed"
		qemu-img convert -n -f raw -O raw before.raw "$uri"
		cp before.raw twin.raw
		qemu-img compare -q -f raw -F raw twin.raw "$uri" ||
			fail "qemu-img convert to it: seed $seed"
	fi
	stop
	expect 0 vmsnap image check disk.vsi
	case $round in
	2 | 4)
		vmsnap image snapshot -q disk.vsi web
		vmsnap restore -q web restored.raw
		same twin.raw restored.raw
		rm restored.raw
		;;
	5) vmsnap image compact -q disk.vsi ;;
	esac
done
[ ! -s nbd-err ] || fail "it said: $(cat nbd-err)"
vmsnap image export -q disk.vsi exported.raw
same twin.raw exported.raw
