#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The walls around a running agent, as the kernel tells of them; spec/threats.md.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guests=$BUILD/tests/kvm
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

sanitized() { grep -q -a -e __asan_init -e __tsan_init "$BUILD/vmsnap"; }
is_state() {
	[ "$(vmsnap ps --json | jq -r ".machines[] | select(.name == \"$1\") | .state")" = "$2" ]
}
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
pid_of() { cat "home/machines/$1/agent.pid"; }
# field STATUS-FILE NAME
field() { awk -v name="$2:" '$1 == name { print $2 }' "$1"; }

truncate -s 8M raw
vmsnap image create -q image.vsi --size 8M
expect 0 vmsnap run web --kernel "$guests/echo.elf" --memory 16M --cpus 2 \
	--in-place --disk raw --disk image.vsi
until_true log_has web '^up'
pid=$(pid_of web)

# Each thread: a filter, of its kind too; no right of any sort.
count=0
for status in /proc/"$pid"/task/*/status; do
	name=$(field "$status" Name)
	[ "$(field "$status" Seccomp)" = 2 ] || fail "$name has no filter"
	[ "$(field "$status" Seccomp_filters)" -ge 2 ] ||
		fail "$name has the process' filter only"
	[ "$(field "$status" NoNewPrivs)" = 1 ] || fail "$name may gain rights"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(field "$status" $set)" = 0000000000000000 ] ||
			fail "$name: $set $(field "$status" $set)"
	done
	count=$((count + 1))
done
[ "$count" -ge 4 ] || fail "$count threads"
limits() { grep -Eq "^$1 +$2 +$2 " /proc/"$pid"/limits || fail "limits: $1"; }
limits 'Max core file size' 0
limits 'Max locked memory' 0
limits 'Max open files' 4096
# What is no longer dumpable belongs to root.
sanitized || [ "$(stat -c %u /proc/"$pid"/maps)" = 0 ] || fail "it is dumpable"
