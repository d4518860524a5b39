#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names and labels: what is refused, and what terminals never see.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
for name in '' -x .x 'a b' a/b ../x 'é' $'a\x1b[2J' "$(printf 'a%.0s' {1..129})"; do
	expect 2 vmsnap backup -- "$name" d.raw
	expect 2 vmsnap backup --label="$name" vm d.raw
	grep -q $'\x1b' err && fail "an escape reached the terminal"
	[ "$(wc -l <err)" = 1 ] || fail "more than one line for '$name'"
done
long=$(printf 'a%.0s' {1..128})
expect 0 vmsnap backup "$long" d.raw --label "$long"
expect 0 vmsnap show "$long@$long"
expect 0 vmsnap backup 0.a_B-c d.raw
expect 0 vmsnap backup vm d.raw --label one
expect 1 vmsnap backup vm d.raw --label one
errs 'one'
expect 0 vmsnap backup other d.raw --label one
cp d.raw $'d\x1b[31m.raw'
expect 0 vmsnap backup esc $'d\x1b[31m.raw'
expect 0 vmsnap show esc
says 'd\\x1b\[31m.raw'
grep -q $'\x1b' out && fail "an escape in show"
expect 0 vmsnap show esc --json
holds "d['disks'][0]['source'].endswith('.raw')"
