#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Snapshots by name, age, label and id; list and show.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
expect 0 vmsnap list
says 'no snapshot'
expect 4 vmsnap show vm
disk d.raw 200000 1
for label in one two three; do
	poke d.raw 5 $label
	vmsnap backup -q vm d.raw --label $label
done
vmsnap backup -q other d.raw
id() { vmsnap show --json "$1" | python3 -c 'import json,sys; print(json.load(sys.stdin)["id"])'; }
[ "$(id vm)" = "$(id vm@latest)" ]
[ "$(id vm)" = "$(id vm@three)" ]
[ "$(id vm@-1)" = "$(id vm@two)" ]
[ "$(id vm@-2)" = "$(id vm@one)" ]
one=$(id vm@one)
[ "$(id "${one:0:8}")" = "$one" ]
[ "$(id "$one")" = "$one" ]
expect 4 vmsnap show vm@-3
expect 4 vmsnap show vm@four
expect 4 vmsnap show nobody
expect 2 vmsnap show 'vm@'
expect 4 vmsnap show 0123456789
expect 0 vmsnap list
[ "$(wc -l <out)" = 5 ] || fail "list has not five lines"
says '^SNAPSHOT +ID +TIME +SIZE +NEW +STORED'
says "^vm@one +${one:0:12} +20[0-9-]+ [0-9:]+ +195.3 KiB"
# One that can't be read is counted: -2 stays what it was.
two=$(id vm@two)
cp -a store whole
chmod u+w "store/snapshots/$two"
poke "store/snapshots/$two" 100 X
[ "$(id vm@-2)" = "$one" ]
[ "$(id vm@three)" = "$(id vm)" ]
expect 3 vmsnap show vm@-1
errs "1 can't: .*$two"
expect 3 vmsnap show vm@two
expect 3 vmsnap show vm@-3
rm -r store
mv whole store
expect 0 vmsnap list other
[ "$(wc -l <out)" = 2 ]
expect 4 vmsnap list nobody
expect 0 vmsnap list --pins
silent out
expect 2 vmsnap list --pins vm
expect 0 vmsnap show vm@two
says "^parent +$one"
says '^label +two'
says 'size +200000 bytes'
