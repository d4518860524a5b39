#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fio's verify mode through NBD on a live image for a minute: random mixes of
# reads, writes and trims, each job over a connection of its own, every block
# read back and its checksum held against what was written; then the server is
# killed and what had been flushed is verified once more by a new one.
#
# FIO_SECONDS: how long (60). FIO_RATE: requests a second of each job, so that
# a long run leaves the machine to others (0: as fast as it goes).
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

for tool in fio nbdkit nbdinfo; do
	command -v $tool >/dev/null || skip "no $tool"
done
fio --enghelp=nbd >/dev/null 2>&1 || skip "this fio has no nbd engine"
if sanitized; then skip "nbdkit can't load a plugin with sanitizers"; fi
seconds=${FIO_SECONDS:-60} rate=${FIO_RATE:-0}
seed=${FIO_SEED:-$((10#$(date +%N)))}
echo "seed $seed (FIO_SEED replays it)"

server=
crash() {
	kill -9 "$server"
	wait "$server" 2>/dev/null || :
	server=
}
trap '[ -z "$server" ] || kill -9 "$server"' EXIT
uri="nbd+unix:///?socket=$TMP/sock"
ready() { nbdinfo --size "$uri" >/dev/null 2>&1; }
serve() {
	"$VMSNAP" nbd --image disk.vsi --writable --socket "$TMP/sock" \
		2>>nbd-err &
	server=$!
	until_true ready
}
run_fio() {
	fio "$@" >fio-out 2>&1 || {
		grep -nE 'fio:|verify|rror|err= *[^ 0]' fio-out >&2 || cat fio-out >&2
		fail "fio: seed $seed"
	}
	! grep -q 'verify:' fio-out || { cat fio-out >&2; fail "seed $seed"; }
}

# Half of each job's place has data beneath.
disk a.raw $((48 << 20)) 1
truncate -s 96M a.raw
vmsnap init -q
vmsnap backup -q web a.raw
vmsnap image create -q disk.vsi --from web

# Nothing goes to bytes that another request is at (serialize_overlap). The jobs
# that trim verify after each loop over their place and not on the way: a
# backlog of fio's may reach back into the loop before, and then it reads a
# block that it has just trimmed again, from any server. A loop that the time
# cuts off is not verified. `noise` runs beside the others and never is.
jobs() {
	cat <<-J
	[global]
	ioengine=nbd
	uri=$uri
	randseed=$seed
	verify=crc32c
	verify_fatal=1
	iodepth=16
	serialize_overlap=1
	time_based=1
	runtime=$1
	rate_iops=$rate
	[mix]
	rw=randrw
	rwmixread=30
	bsrange=4k-128k
	blockalign=4k
	offset=36M
	size=24M
	verify_backlog=512
	fsync=200
	[sectors]
	rw=randwrite
	bsrange=512-12k
	blockalign=512
	offset=60M
	size=4M
	verify_backlog=256
	fsync=300
	[trims]
	rw=randtrimwrite
	bsrange=4k-128k
	blockalign=4k
	iodepth=8
	time_based=0
	loops=1000000
	offset=64M
	size=16M
	trim_percentage=20
	trim_verify_zero=1
	trim_backlog=64
	[lower]
	rw=randtrimwrite
	bs=64k
	iodepth=4
	time_based=0
	loops=1000000
	offset=0
	size=16M
	[noise]
	rw=randtrimwrite
	bsrange=4k-200k
	blockalign=4k
	verify=0
	offset=80M
	size=16M
	fsync=50
	J
}
# The same place and the same seed, so that it can be verified by another run.
place() {
	printf '%s\n' --name=last --ioengine=nbd "--uri=$uri" --rw=randwrite \
		--bsrange=512-64k --blockalign=512 --offset=16M --size=20M \
		--randseed="$seed" --verify=crc32c --iodepth=16
}
third=$(((seconds + 2) / 3))
for pass in 1 2 3; do
	serve
	jobs $third >jobs.fio
	run_fio jobs.fio
	for job in mix sectors trims lower noise; do
		grep -q "^$job: .*err= 0" fio-out || {
			cat fio-out >&2
			fail "job $job did not run"
		}
	done
	# All of it is written and flushed, none is verified yet.
	run_fio $(place) --do_verify=0 --end_fsync=1
	crash
	expect 0 vmsnap image check disk.vsi
	[ $pass != 2 ] || vmsnap image snapshot -q disk.vsi web
	serve
	run_fio $(place) --verify_only=1
	grep -q 'READ: .*io=20\.0MiB' fio-out || {
		cat fio-out >&2
		fail "not all of it was verified"
	}
	crash
	seed=$((seed + 1))
done
# The clients that a kill cut off are no error.
! grep -v 'NBD_CMD\|reset by peer' nbd-err || fail "it said: $(cat nbd-err)"
