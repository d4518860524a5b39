#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Machines whose disks stand on a snapshot: a keeper reads for them. It comes
# with the first and goes with the last, is shared, and comes back when it is
# killed, while guests wait; no agent has the store's keys.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/reader.elf
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT

status() { vmsnap keeper status --json; }
# of FIELD: of the only keeper.
of() { status | jq -r ".keepers[0].$1"; }
no_keeper() { [ "$(status | jq '.keepers | length')" = 0 ]; }
is_of() { [ "$(of "$1")" = "$2" ]; }
log_has() { grep -Eq -e "$2" "home/machines/$1/console.log"; }
sum_of() {
	python3 - "$1" <<-'PY'
	import struct, sys
	s = 0
	for (word,) in struct.iter_unpack("<Q", open(sys.argv[1], "rb").read()):
	    s = (s * 31 + word) % 2**64
	print("%x" % s)
	PY
}
# passes NAME SUM: each of the guest's came out as that.
passes() {
	! grep -q 'no sector' "home/machines/$1/console.log" || fail "$1: a read failed"
	# The last line may not be whole yet.
	[ "$(sed -n '$d; s/^pass [0-9]*: //p' "home/machines/$1/console.log" | sort -u)" = "$2" ] ||
		fail "$1: a pass came out as something else: $(cat "home/machines/$1/console.log")"
}
# more_passes NAME SUM: by and by.
more_passes() {
	local from
	from=$(grep -c '^pass' "home/machines/$1/console.log" || :)
	have_more() { [ "$(grep -c '^pass' "home/machines/$1/console.log")" -gt $((from + 2)) ]; }
	until_true have_more "$1"
	passes "$1" "$2"
}

vmsnap init -q
disk a.raw 1048576 1
disk b.raw 524288 2
sum=$(sum_of a.raw)
vmsnap backup -q a a.raw
vmsnap backup -q two first=a.raw second=b.raw
expect 0 vmsnap keeper status
silent out
no_keeper || fail "a keeper, and no machine"

# One machine, once through its disk.
expect 0 vmsnap run one --from a --kernel "$guest" --memory 16M
until_true log_has one "^pass 0: $sum"
[ "$(vmsnap list --pins | grep -c one/disk0.vsi)" = 1 ] || fail "no pin"
[ "$(of served_bytes)" -ge 1048576 ] || fail "nothing was served: $(status)"
expect 1 vmsnap run one --from a --kernel "$guest"
errs "machine 'one' exists"

# Two that share it; to start again takes no passphrase while it runs.
expect 0 vmsnap run loop --from two --kernel "$guest" --append 'console=ttyS0 loop' --memory 16M
more_passes loop "$sum"
[ -e home/machines/loop/disk1.vsi ] || fail "the second disk"
until_true is_of machines 1
vmsnap image create -q own.vsi --from a
vmsnap image create -q own2.vsi --from a
secret=$VMSNAP_PASSPHRASE
unset VMSNAP_PASSPHRASE
expect 0 vmsnap run three --disk own.vsi --in-place --kernel "$guest" \
	--append 'console=ttyS0 loop' --memory 16M
more_passes three "$sum"
expect 0 vmsnap run one
until_true log_has one "^pass 0: $sum"
until_true is_of machines 2
[ "$(of cache_hits)" -gt 0 ] || fail "nothing came from the cache: $(status)"
process=$(of process)
expect 5 vmsnap keeper stop
errs 'machines use the keeper'

# A throw-away layer over an image that stands on a snapshot; and over one that
# has data of its own too.
expect 0 vmsnap run throw --disk own2.vsi --kernel "$guest" --memory 16M
until_true log_has throw "^pass 0: $sum"
expect 0 vmsnap rm --force throw
expect 0 vmsnap run write --disk own2.vsi --in-place \
	--kernel "$BUILD/tests/kvm/virtio.elf" --memory 64M
until_true log_has write '^done'
vmsnap rm -q --force write
VMSNAP_PASSPHRASE=$secret vmsnap image export -q own2.vsi exported.raw
expect 0 vmsnap run throw --disk own2.vsi --kernel "$guest" --memory 16M
until_true log_has throw "^pass 0: $(sum_of exported.raw)"
expect 0 vmsnap rm --force throw

# Killed: it comes back by itself, and the guests have only waited.
kill -9 "$process"
is_other() { [ "$(of process)" != "$process" ] && [ "$(of machines)" = 2 ]; }
until_true is_other
more_passes loop "$sum"
more_passes three "$sum"
[ "$(of starts)" = 2 ] || fail "not its second start: $(status)"
grep -q 'died by signal 9' home/keepers/*/keeper.log || fail "keeper.log: $(cat home/keepers/*/keeper.log)"

# With its watcher too: the guests wait until somebody starts one.
kill -9 "$(of watcher)" "$(of process)"
until_true no_keeper
expect 7 vmsnap keeper start
VMSNAP_PASSPHRASE=wrong expect 7 vmsnap keeper start
no_keeper || fail "a keeper with the wrong passphrase"
passes loop "$sum"
export VMSNAP_PASSPHRASE=$secret
expect 0 vmsnap keeper start 9>held
more_passes loop "$sum"
more_passes three "$sum"

# The keys are where they belong. Root alone may look.
if [ "$(id -u)" = 0 ] && ! sanitized; then
	python3 "$TOP/tests/kvm/keys_in_memory.py" "$VMSNAP_STORE" "$secret" \
		"keeper $(of process)" "watcher $(of watcher)" \
		"agent $(cat home/machines/loop/agent.pid)" \
		"agent $(cat home/machines/three/agent.pid)" >keys || fail "$(cat keys)"
	! find "/proc/$(of process)/fd" -lname "$TMP/held" | grep -q . ||
		fail "a descriptor of others went on into the keeper"
fi

# Stopped while the keeper is away: the agents end all the same.
expect 0 vmsnap keeper stop --force
until_true no_keeper
expect 0 vmsnap ps
says "^loop +running .*waits for a keeper: 'vmsnap keeper start'"
expect 0 vmsnap keeper start
expect 0 vmsnap ps
! grep -q 'waits for' out || fail "it has a keeper: $(cat out)"
expect 0 vmsnap keeper stop --force
until_true no_keeper
expect 0 vmsnap stop --force loop
expect 0 vmsnap stop --force three
[ "$(vmsnap ps --json | jq -r '[.machines[].state] | unique | join(" ")')" = stopped ] ||
	fail "$(vmsnap ps)"

# A disk that is damaged in the store is an error of what lies there.
pack=$(find store/packs -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
cp "$pack" pack
poke "$pack" 4096 "damaged damaged damaged"
expect 0 vmsnap run one
until_true log_has one '^pass 0: no sector'
grep -q "machine 'one'" home/keepers/*/keeper.log || fail "keeper.log says nothing"
cp pack "$pack"

# rm takes images and pins; without a passphrase neither.
unset VMSNAP_PASSPHRASE
expect 7 vmsnap rm loop
errs 'pins of'
export VMSNAP_PASSPHRASE=$secret
expect 0 vmsnap rm --all
[ "$(vmsnap list --pins | grep -c machines/)" = 0 ] || fail "pins are left: $(vmsnap list --pins)"
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ -e own.vsi ] || fail "an image that is not the machine's own"

# A first run that fails leaves nothing.
expect 1 vmsnap run bad --from a --kernel a.raw --memory 16M
expect 4 vmsnap run bad --from nothing --kernel "$guest"
[ -z "$(ls -A home/machines)" ] || fail "left behind: $(ls -A home/machines)"
[ "$(vmsnap list --pins | grep -c machines/)" = 0 ] || fail "pins are left"

# The last machine has gone: so has the keeper.
until_true no_keeper
