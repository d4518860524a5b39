#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line: order, near misses, what a later version will have.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
expect 0 vmsnap backup vm d.raw --label a -q
silent out
expect 0 vmsnap --label=b -q backup vm d.raw
expect 0 vmsnap -qs store backup --label c vm d.raw
expect 0 vmsnap -sstore list
says 'vm@c'
expect 0 vmsnap list -- vm
cp d.raw ./--odd
expect 0 vmsnap backup -q odd -- --odd
expect 2 vmsnap
errs 'no verb'
expect 2 vmsnap bakcup vm d.raw
errs "did you mean 'backup'"
expect 2 vmsnap lst
errs "did you mean 'list'"
expect 2 vmsnap restore --detla vm out
errs "did you mean '--delta'"
expect 2 vmsnap frobnicate
expect 2 vmsnap list --frobnicate
expect 2 vmsnap list --map
errs "'list' has no option '--map'"
expect 2 vmsnap list -x
expect 2 vmsnap list --json=1
expect 2 vmsnap list --store
expect 2 vmsnap show
expect 2 vmsnap show a b
expect 2 vmsnap check --read-data 10%
errs -- '--read-data=10%'
expect 2 vmsnap keeper
errs "^vmsnap: keeper: which of its verbs\?: 'vmsnap keeper --help'"
# An empty variable is not all of them.
expect 2 vmsnap keeper stop '' --home home
expect 2 vmsnap diff vm
expect 2 vmsnap backup vm
expect 2 vmsnap verify
expect 2 vmsnap verify vm --all-latest
expect 2 vmsnap backup vm d.raw --chunk-size 48K
expect 2 vmsnap backup vm d.raw --chunk-size 8K
expect 2 vmsnap backup vm d.raw --level 20
expect 2 vmsnap backup vm d.raw --level 0
expect 2 vmsnap verify vm --progress=sometimes
for verb in snapshot clone forget prune repair copy sync serve; do
	expect 6 vmsnap $verb x --some-option
	errs "'$verb': not in this version"
done
expect 2 vmsnap image rebase x.vsi
expect 2 vmsnap image
expect 2 vmsnap image list
expect 2 vmsnap image crate x.vsi
errs "did you mean 'image create'"
expect 2 vmsnap key create
expect 2 vmsnap image create x.vsi
expect 2 vmsnap image create x.vsi --size 1G --disk a
expect 2 vmsnap image resize x.vsi
expect 6 vmsnap verify vm --boot
expect 6 vmsnap verify vm --boot x
expect 0 vmsnap list -v
errs 'store [0-9a-f]{32}'
# Every complaint is one line that begins with the program's name.
expect 2 vmsnap lst
[ "$(grep -c '^vmsnap: ' err)" = "$(wc -l <err)" ]
