#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# As a user without rights: all works, and nobody can look into the process.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

command -v setpriv >/dev/null || skip "no setpriv"
id nobody >/dev/null 2>&1 || skip "no user nobody"
chmod 777 "$TMP"
cp "$VMSNAP" ./vmsnap
chmod 755 vmsnap
as_nobody=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups)
"${as_nobody[@]}" test -x "$TMP/vmsnap" || skip "nobody can't get to $TMP"
disk d.raw 3000000 1
chmod 644 d.raw
run() { "${as_nobody[@]}" ./vmsnap "$@"; }
expect 0 run init
expect 0 run backup vm d.raw
expect 0 run restore vm out.raw
same d.raw out.raw
expect 0 run check --read-data
[ "$(stat -c %a store/config)" = 600 ] || [ "$(stat -c %a store)" = 700 ] ||
	fail "others can read the store"
chmod 600 d.raw
expect 1 run backup vm d.raw
errs 'ermission'
if sanitized; then exit 0; fi
mkfifo pipe
chmod 666 pipe
"${as_nobody[@]}" ./vmsnap backup in - --size 10 --progress json <pipe 2>progress &
pid=$!
exec 3>pipe
until_true test -s progress
[ "$(stat -c %U "/proc/$pid/mem")" = root ] || fail "the process can be dumped"
printf 0123456789 >&3
exec 3>&-
wait $pid
