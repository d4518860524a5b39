#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore to a pipe; a reader that goes away.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 20000001 1
vmsnap backup -q vm d.raw
vmsnap restore vm - | cmp - d.raw
"$VMSNAP" restore vm - >out.raw
same d.raw out.raw
truncate -s 5000000 hole.raw
vmsnap backup -q hole hole.raw
vmsnap restore hole - | cmp - hole.raw
status=0
{ "$VMSNAP" restore vm - 2>err || echo $? >status; } | head -c 100 >/dev/null
[ "$(cat status)" = 1 ] || fail "a reader that left: status $(cat status)"
[ ! -s err ] || fail "a complaint about a reader that left"
expect 1 bash -c '"$VMSNAP" restore vm - >/dev/full'
expect 1 bash -c '"$VMSNAP" list >/dev/full'
errs 'standard output'
expect 1 bash -c '"$VMSNAP" restore vm - >&-'
expect 2 vmsnap restore vm - --json
expect 2 vmsnap restore vm - --delta
