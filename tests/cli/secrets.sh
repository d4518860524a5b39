#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The passphrase is in no command line, no environment, no core file.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

secret=very-secret-passphrase
export VMSNAP_PASSPHRASE=$secret
vmsnap init -q
mkfifo pipe
"$VMSNAP" backup vm - --size 100000 --progress json <pipe 2>progress &
pid=$!
exec 3>pipe
head -c 50000 /dev/zero >&3
until_true test -s progress
grep -q -a $secret "/proc/$pid/cmdline" && fail "on the command line"
if sanitized; then
	:
else
	grep -q -a $secret "/proc/$pid/environ" && fail "in the environment"
	grep -Eq 'Max core file size +0 +0 ' "/proc/$pid/limits" ||
		fail "a core file could be written"
fi
head -c 50000 /dev/zero >&3
exec 3>&-
wait $pid
grep -r -q -a $secret store && fail "in the store"
VMSNAP_PASSPHRASE_COMMAND="env >env.txt; echo $secret" \
	VMSNAP_NEW_PASSPHRASE=another-secret VMSNAP_PASSPHRASE='' \
	expect 7 vmsnap list
unset VMSNAP_PASSPHRASE
VMSNAP_PASSPHRASE_COMMAND="env >env.txt; echo $secret" \
	VMSNAP_NEW_PASSPHRASE=another-secret expect 0 vmsnap list
grep -q another-secret env.txt && fail "a child got the new passphrase"
exit 0
