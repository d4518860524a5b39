#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A damaged table, a lost pack: what can still be done, and that the next backup
# counts on nothing that is gone.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk a.raw 3000000 1
disk b.raw 2000000 2
vmsnap backup -q a a.raw
first=$(ls store/tables)
vmsnap backup -q b b.raw
cp -a store good

# The end of a table, which is read when a store is opened.
poke "store/tables/$first" $(($(stat -c %s "store/tables/$first") - 100)) X
for verb in "list" "show a" "key list" "diff a b" "verify --all-latest"; do
	# shellcheck disable=SC2086
	expect 0 vmsnap $verb
	errs "warning: .*$first.*passed over"
done
expect 0 vmsnap restore a out.raw
same a.raw out.raw
expect 3 vmsnap stats
errs 'stats: 1 object '
expect 3 vmsnap check
expect 0 vmsnap backup c a.raw
errs "$first.*after this run it can be removed"
says '0 B new in 0 chunks'
rm "store/tables/$first"
expect 0 vmsnap check --read-data
silent err
for name in a b c; do vmsnap verify -q $name; done

# The midst of it, which is read when a chunk is looked for.
rm -r store out.raw
cp -a good store
poke "store/tables/$first" 5000 X
expect 0 vmsnap restore a out.raw
errs "warning: .*$first.*block 0 .*asked instead"
same a.raw out.raw
expect 3 vmsnap check
errs "$first.*block 0"

# A pack is gone: the next backup of the same disk stores anew what it held.
rm -r store
cp -a good store
lost=$(find store/packs -type f -printf '%s %P\n' | sort -n | tail -1 | cut -d' ' -f2)
rm "store/packs/$lost"
expect 3 vmsnap check
hurt=a
vmsnap verify -q b 2>/dev/null || hurt=b
expect 3 vmsnap verify $hurt
expect 0 vmsnap backup --dry-run $hurt $hurt.raw
errs "1 of [0-9]+ packs missing .*$lost"
expect 0 vmsnap backup $hurt $hurt.raw
errs "1 of [0-9]+ packs missing .*$lost"
expect 0 vmsnap verify $hurt
expect 0 vmsnap restore --force $hurt out.raw
same $hurt.raw out.raw
expect 0 vmsnap verify $hurt@-1 # since the content is the same
expect 3 vmsnap check
errs "$lost.*missing"
! grep -q hurts err || fail "who is hurt?"

# All packs are gone: that is no store to go on with.
find store/packs -type f -delete
expect 3 vmsnap backup b b.raw
errs 'is a file system not mounted\?'
