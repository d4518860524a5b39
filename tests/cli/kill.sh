#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGKILL in the middle of a backup: nothing committed, work is reused.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk old.raw 3000000 9
vmsnap backup -q old old.raw
head -c 150000000 /dev/urandom >d.raw
mkfifo pipe
"$VMSNAP" backup vm - --size 150000000 <pipe 2>/dev/null &
pid=$!
exec 3>pipe
before=$(find store/packs -type f -size +1M | wc -l)
head -c 140000000 d.raw >&3
a_pack_more() { [ "$(find store/packs -type f -size +1M | wc -l)" -gt "$before" ]; }
until_true a_pack_more
kill -9 $pid
wait $pid || :
exec 3>&-
expect 4 vmsnap show vm
expect 0 vmsnap check --read-data
expect 0 vmsnap backup --json vm d.raw
holds "d['new_content_bytes'] < 125000000"
expect 0 vmsnap restore vm out.raw
same d.raw out.raw
expect 0 vmsnap restore old out-old.raw
same old.raw out-old.raw
expect 0 vmsnap check --read-data
