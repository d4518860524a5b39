#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real ext4 on an image that is served, written to and synced all the while:
# ten snapshots and absorbs of it from outside; the server, and the command
# that absorbs, killed at random moments. What was synced before a seal is in
# what was sealed, what was synced before a kill is there after it, each file
# whole; the file system needs no more than its journal; no pin is left. Each
# sealed point is then cloned, and the clone served, written to and killed the
# same way.
#
# A sealed point is a disk whose power went: `e2fsck -fn` calls its journal
# something to recover, as with any such disk. So first the journal alone is
# replayed (by e2fsck -E journal_only; of one clone by the kernel's mount), then
# -fn must find nothing.
#
# SERVED_DISK=FILE: a raw ext4 of one's own instead of the small one made here.
# SERVED_SEED=N: the moments of another run.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin

command -v python3 >/dev/null || skip "no python3"
. "$TOP/tests/root/lib_attach.sh"

RANDOM=${SERVED_SEED:=$((RANDOM + 1))}
echo "SERVED_SEED=$SERVED_SEED"

WRITERS=2
load=
crash() {
	kill -9 "$server"
	wait "$server" 2>/dev/null || :
	server=
}
cleanup() {
	stop_load 2>/dev/null || :
	detach 2>/dev/null || :
	! mountpoint -q look || umount look
	[ -z "$server" ] || kill -9 "$server" 2>/dev/null || :
	wait || :
}
trap cleanup EXIT

# load.py write DIR WRITER ACKED: files of this writer, one after the other,
# each synced, then its number under the name `number`, synced; then that goes
# to ACKED. Begins behind what is there. Ends when it can't write.
# load.py check DIR WRITER AT-LEAST: the number is that or more; each file is
# the one that was written last up to it, to the byte (but for the one that
# may be under way).
cat >load.py <<'EOF'
import os, random, sys
SLOTS = 40
what, top, writer, rest = sys.argv[1:]
top = f"{top}/load-{writer}"
number_file = f"{top}/number"

def content(n):
    source = random.Random(f"{writer} {n}")
    data = source.randbytes(source.choice((700, 4096, 30000, 200000)))
    return b"%d\n" % n + data * source.choice((1, 1, 2))

def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def put(path, data):
    with open(path, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())

def number():
    try:
        with open(number_file) as f:
            return int(f.read())
    except FileNotFoundError:
        return 0

def slot(n):
    return f"{top}/{n % 4}/file-{n % SLOTS}"

if what == "write":
    acked = open(rest, "a")
    for d in range(4):
        os.makedirs(f"{top}/{d}", exist_ok=True)
    n = number()
    while True:
        n += 1
        if n % 3 == 0 and os.path.exists(slot(n)):
            os.unlink(slot(n))      # a new inode; else it is overwritten
        put(slot(n), content(n))
        sync(os.path.dirname(slot(n)))
        put(number_file + ".new", b"%d\n" % n)
        os.rename(number_file + ".new", number_file)
        sync(top)
        acked.write(f"{n}\n")
        acked.flush()
last = number()
if last < int(rest):
    sys.exit(f"writer {writer}: {rest} was synced, {last} is there")
for s in range(SLOTS):
    n = last - (last - s) % SLOTS
    if n <= 0 or s == (last + 1) % SLOTS:
        continue
    with open(slot(n), "rb") as f:
        if f.read() != content(n):
            sys.exit(f"writer {writer}: file {n} of {last} is not whole")
EOF

start_load() {
	load=
	for ((w = 0; w < WRITERS; w++)); do
		python3 load.py write mnt $w "$TMP/acked-$w" 2>/dev/null &
		load="$load $!"
	done
}
stop_load() {
	local pid
	for pid in $load; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	load=
}
acked() { tail -n 1 "acked-$1" 2>/dev/null || echo 0; }
# So many more files of each writer, from now on.
note_acked() { for ((w = 0; w < WRITERS; w++)); do from[w]=$(acked $w); done; }
moved_on() {
	local w
	for ((w = 0; w < WRITERS; w++)); do
		[ "$(($(acked $w) - from[w]))" -ge "$1" ] || return 1
	done
}
begun() {
	local w
	for ((w = 0; w < WRITERS; w++)); do [ -s "acked-$w" ] || return 1; done
}
declare -a from
moment() { sleep "0.$(printf %03d $((RANDOM % $1)))"; }

# check_disk RAW WHAT AT-LEAST...: clean once its journal is replayed, and the
# files of each writer are there.
check_disk() {
	local raw=$1 what=$2 w
	shift 2
	e2fsck -fp -E journal_only "$raw" >fsck 2>&1 || [ $? = 1 ] ||
		fail "$what: its journal: $(cat fsck)"
	e2fsck -fn "$raw" >fsck 2>&1 || fail "$what: $(cat fsck)"
	mount -o ro,noload,loop "$raw" look
	for ((w = 0; w < WRITERS; w++)); do
		python3 load.py check look $w "$1" || fail "$what"
		shift
	done
	diff -rq "$src" "look/$seen" >differs || fail "$what: $(cat differs)"
	umount look
}
pins() {
	vmsnap list --pins --json >"$TMP/out"
	json "len(d['pins'])"
}
snapshots() {
	vmsnap list --json >"$TMP/out"
	json "len(d['snapshots'])"
}

mkdir mnt look fuse empty
vmsnap init -q
if [ -n "${SERVED_DISK:-}" ]; then
	src=$TMP/empty seen=served-empty
	cp --sparse=always "$SERVED_DISK" disk.raw
else
	# Real files: our own sources.
	mkdir -p src/files
	cp -r "$TOP"/{format,vmsnap,cli,spec,tests} src/files/
	src=$TMP/src/files seen=files
	truncate -s 128M disk.raw
	mkfs.ext4 -q -F -d src disk.raw
fi
vmsnap backup -q web disk.raw
rm disk.raw
vmsnap image create -q disk.vsi --from web
attach disk.vsi 2>err || { cat err fuse-err >&2; skip "can't attach and mount here"; }
mkdir -p "mnt/$seen"
start_load
note_acked
until_true moved_on 3

declare -A sealed
label() { sealed[$1]="${from[*]}"; }
for round in 1 2 3 4 5 6 7 8 9 10; do
	note_acked
	until_true moved_on 4
	note_acked
	case $round in
	4 | 8)	# The command is killed; the next one does it.
		for ((n = 0; n < 3; n++)); do
			"$VMSNAP" image snapshot -q disk.vsi web 2>/dev/null &
			pid=$!
			moment 200
			kill -9 $pid 2>/dev/null || :
			wait $pid 2>/dev/null || :
		done
		;;
	3 | 6 | 9)	# The server is killed, while it is absorbed.
		"$VMSNAP" image absorb -q disk.vsi 2>/dev/null &
		pid=$!
		moment 300
		crash
		wait $pid 2>/dev/null || :
		stop_load
		note_acked
		detach 2>/dev/null
		vmsnap image export -q disk.vsi killed.raw
		check_disk killed.raw "killed in round $round" "${from[@]}"
		rm killed.raw
		expect 0 vmsnap image check disk.vsi
		attach disk.vsi
		start_load
		note_acked
		until_true moved_on 3
		note_acked
		;;
	5)	# One more in between, without a snapshot.
		vmsnap image absorb -q disk.vsi
		;;
	esac
	vmsnap image snapshot -q disk.vsi web --label "round-$round"
	label $round
	for pid in $load; do
		kill -0 "$pid" 2>/dev/null || fail "a writer has ended in round $round"
	done
done
# Nobody was stopped by it, and no more than one at a time is let in.
note_acked
until_true moved_on 5
expect 0 vmsnap image info --json disk.vsi
holds "d['process'] and d['first_layer'] == d['top_layer']"
stop_load
note_acked
detach
stop
[ ! -e disk.vsi.sock ] && [ ! -e disk.vsi.swap ] || fail "left: $(ls)"
[ "$(pins)" = 1 ] || fail "$(pins) pins for one image"
expect 0 vmsnap image check disk.vsi
vmsnap image export -q disk.vsi last.raw
check_disk last.raw "the last one" "${from[@]}"
rm last.raw

# The clone's server is killed while it is written to, and every third time
# while a snapshot is made of it too; what was synced is there after it.
kill_clone() {
	local round=$1 pid=
	attach clone.vsi
	rm -f acked-*
	start_load
	until_true begun
	note_acked
	until_true moved_on 3
	if [ $((round % 3)) = 0 ]; then
		"$VMSNAP" image snapshot -q clone.vsi of-clone 2>/dev/null &
		pid=$!
	fi
	moment 400
	crash
	[ -z "$pid" ] || wait $pid 2>/dev/null || :
	stop_load
	note_acked
	detach 2>/dev/null
	# By a new server, or past any.
	if [ $((round % 2)) = 0 ]; then
		serve clone.vsi
		nbdcopy "$uri" clone.raw
		stop
	else
		vmsnap image export -q clone.vsi clone.raw
	fi
	check_disk clone.raw "the clone of round $round, killed" "${from[@]}"
	rm clone.raw
	expect 0 vmsnap image check clone.vsi
}

# Each sealed point, in a clone of its own. The fifth is mounted through the
# door, so the kernel replays its journal; and written to.
for round in 1 2 3 4 5 6 7 8 9 10; do
	vmsnap image create -q clone.vsi --from "web@round-$round"
	if [ $round = 5 ]; then
		attach clone.vsi
		echo written >mnt/written
		detach
		stop
		vmsnap image export -q clone.vsi clone.raw
		e2fsck -fn clone.raw >fsck 2>&1 || fail "the clone: $(cat fsck)"
	else
		vmsnap image export -q clone.vsi clone.raw
	fi
	check_disk clone.raw "round $round" ${sealed[$round]}
	rm clone.raw
	kill_clone $round
	vmsnap image rm -q clone.vsi
done
[ "$(pins)" = 1 ] || fail "$(pins) pins for one image"
[ "$(snapshots)" -ge 11 ] || fail "$(snapshots) snapshots"
expect 0 vmsnap check --read-data
