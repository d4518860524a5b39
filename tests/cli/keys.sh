#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of keys: add, use, change, remove; the last one stays.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
vmsnap backup -q vm d.raw
expect 0 vmsnap key list
[ "$(wc -l <out)" = 1 ]
says '^\* [0-9a-f]{32} +passphrase'
first=$(awk '{print $2}' out)
expect 5 vmsnap key remove "$first"
errs 'last'
VMSNAP_NEW_PASSPHRASE=second expect 0 vmsnap key add --label 'for the night'
says 'added'
expect 0 vmsnap key list --json
holds "len(d['keys']) == 2 and sum(k['open'] for k in d['keys']) == 1"
holds "'for the night' in [k['label'] for k in d['keys']]"
VMSNAP_PASSPHRASE=second expect 0 vmsnap list
printf third >new
expect 0 vmsnap key change --new-passphrase-file new
expect 7 vmsnap list
export VMSNAP_PASSPHRASE=third
expect 0 vmsnap list
expect 0 vmsnap key list
[ "$(wc -l <out)" = 2 ]
grep -q "$first" out && fail "the old key is still there"
second=$(grep -v '^\*' out | awk '{print $1}')
expect 2 vmsnap key remove abc
expect 4 vmsnap key remove ffffffffffff
expect 0 vmsnap key remove "${second:0:8}"
VMSNAP_PASSPHRASE=second expect 7 vmsnap list
VMSNAP_NEW_PASSPHRASE= expect 7 vmsnap key add
expect 7 setsid -w "$VMSNAP" key add
VMSNAP_NEW_PASSPHRASE=x expect 2 vmsnap key add --label $'bad\x07'
expect 2 vmsnap key
errs 'key'
expect 2 vmsnap key lst
errs "did you mean 'key list'"
expect 0 vmsnap restore vm out.raw
same d.raw out.raw
vmsnap -s plain init -q --plaintext 2>/dev/null
VMSNAP_NEW_PASSPHRASE=x expect 2 vmsnap -s plain key add
