#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A restore that was broken off goes on; the target is never half there.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 64000000 1
vmsnap backup -q vm d.raw
mkfifo gate
"$VMSNAP" restore vm out.raw 2>/dev/null &
pid=$!
until_true test -e out.raw.vmsnap-partial -o -e out.raw
kill -9 $pid 2>/dev/null || :
wait $pid || :
if [ -e out.raw ]; then
	same d.raw out.raw
	rm out.raw
fi
# The same by hand, so that it is sure to be half done.
head -c 32000000 d.raw >out.raw.vmsnap-partial
expect 0 vmsnap restore vm out.raw --delta --json
same d.raw out.raw
holds "d['unchanged_bytes'] > 15000000 and d['written_bytes'] < 40000000"
[ ! -e out.raw.vmsnap-partial ] || fail "the partial file is still there"
# Without --delta one begins anew, also over rubbish.
rm out.raw
head -c 70000000 /dev/urandom >out.raw.vmsnap-partial
expect 0 vmsnap restore vm out.raw
same d.raw out.raw
