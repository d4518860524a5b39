#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two and eight backups into one store at once, a restore beside them.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk base.raw 6000000 1
vmsnap backup -q base base.raw
for i in 1 2 3 4 5 6 7 8; do
	cp base.raw d$i.raw
	poke d$i.raw $((i * 100000)) "machine $i"
	disk own$i.raw 500000 $i
	cat own$i.raw >>d$i.raw
done
run_all() {
	local i pids=()
	for i in "$@"; do
		"$VMSNAP" backup -q vm$i d$i.raw &
		pids+=($!)
	done
	"$VMSNAP" restore -q base out.raw --force &
	pids+=($!)
	for i in "${pids[@]}"; do wait "$i" || fail "one of them failed"; done
	same base.raw out.raw
}
run_all 1 2
run_all 1 2 3 4 5 6 7 8
# The same name eight times at once: eight snapshots, none lost.
pids=()
for i in 1 2 3 4 5 6 7 8; do
	"$VMSNAP" backup -q same d$i.raw &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail "one of them failed"; done
expect 0 vmsnap list --json same
holds "len({s['id'] for s in d['snapshots']}) == 8"
for i in 1 2 3 4 5 6 7 8; do
	expect 0 vmsnap restore -q vm$i --force out.raw
	same d$i.raw out.raw
done
expect 0 vmsnap check --read-data
