#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A store, or a part of it, made by a later version: exit 6, never a guess.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
vmsnap backup -q vm d.raw
cp -a store good
later() {
	rm -rf store
	cp -a good store
	printf '\002' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
later store/config 8
for verb in list check stats 'show vm' 'verify vm' 'restore vm out' \
	'backup vm d.raw'; do
	expect 6 vmsnap $verb
	errs 'version|newer|new'
done
later store/config 12
expect 6 vmsnap list
snapshot=$(find store/snapshots -type f -printf "%f\n" | head -n 1)
later "store/snapshots/$snapshot" 8
expect 6 vmsnap check
expect 6 vmsnap list
pack=$(find store/packs -type f | sort | head -n 1)
later "$pack" 8
status=0
vmsnap restore vm out.raw 2>err || status=$?
case $status in
0) same d.raw out.raw ;;
6) ;;
*) fail "a later pack: status $status" ;;
esac
expect 0 vmsnap --version
says '^vmsnap [0-9.]+ '
