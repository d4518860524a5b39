#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where the passphrase comes from; a wrong one, none, an empty one.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
vmsnap backup -q vm d.raw
printf 'correct horse\n' >right
printf 'correct horse\n\n' >two-newlines
printf '' >empty
VMSNAP_PASSPHRASE=wrong expect 7 vmsnap list
errs '^vmsnap: list: '
grep -q wrong err && fail "the passphrase is in the message"
VMSNAP_PASSPHRASE= expect 7 vmsnap list
unset VMSNAP_PASSPHRASE
# A session of its own has no terminal.
expect 7 setsid -w "$VMSNAP" list
errs 'no passphrase'
expect 7 setsid -w "$VMSNAP" -s other init
[ ! -e other/config ]
expect 0 vmsnap list --passphrase-file right
expect 7 vmsnap list --passphrase-file two-newlines
expect 7 vmsnap list --passphrase-file empty
expect 4 vmsnap list --passphrase-file absent
VMSNAP_PASSPHRASE_COMMAND='cat right' expect 0 vmsnap list
VMSNAP_PASSPHRASE_COMMAND='echo no' expect 7 vmsnap list
VMSNAP_PASSPHRASE_COMMAND='cat right; exit 3' expect 7 vmsnap list
errs 'status 3'
VMSNAP_PASSPHRASE=wrong expect 0 vmsnap list --passphrase-file right
# The command must not eat the disk on standard input.
VMSNAP_PASSPHRASE_COMMAND='cat >/dev/null; cat right' \
	expect 0 vmsnap backup --json in - --size 100000 <d.raw
holds "d['logical_bytes'] == 100000"
expect 0 vmsnap -s plain init --plaintext
expect 0 vmsnap -s plain backup vm d.raw
silent err
expect 0 vmsnap -s plain list --passphrase-file right
errs 'warning: .*not encrypted'
expect 0 vmsnap -s plain2 init --plaintext --passphrase-file right
errs 'warning: '
