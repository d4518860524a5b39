#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No HOME, LANG=C, closed descriptors, no place for temporaries.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 1000000 1
bare=(env -i VMSNAP_PASSPHRASE="correct horse")
[ -z "${ASAN_OPTIONS:-}" ] || bare+=(ASAN_OPTIONS="$ASAN_OPTIONS")
"${bare[@]}" LANG=C "$VMSNAP" -s store backup vm d.raw >/dev/null
"${bare[@]}" LC_ALL=C TERM=dumb TMPDIR=/nonexistent HOME=/nonexistent \
	"$VMSNAP" -s store backup vm d.raw >/dev/null
"${bare[@]}" LANG=C "$VMSNAP" -s store restore vm out.raw >/dev/null
same d.raw out.raw
rm out.raw
cp d.raw $'\xc3\xa9\xff.raw'
expect 0 "${bare[@]}" LANG=C "$VMSNAP" -s store backup odd $'\xc3\xa9\xff.raw'
expect 0 vmsnap show --json odd
"$VMSNAP" backup -q vm d.raw <&- >&- 2>&-
"$VMSNAP" restore vm out.raw <&- >&- 2>&-
same d.raw out.raw
"$VMSNAP" check --read-data <&-
"$VMSNAP" list 2>&- | grep -q vm
status=0
VMSNAP_STORE=/nonexistent "$VMSNAP" list 2>&- >&- || status=$?
[ $status = 4 ]
# Its output to a pipe that nobody reads: no SIGPIPE, no word, not "done".
{ "$VMSNAP" show vm 2>err || echo $? >status; } | true
[ ! -e status ] || [ "$(cat status)" = 1 ]
[ ! -s err ]
# Limits: few descriptors are enough.
(ulimit -n 64; "$VMSNAP" backup -q few d.raw; "$VMSNAP" restore -q few few.raw)
same d.raw few.raw
