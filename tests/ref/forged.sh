#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command refuses what breaks one rule of the page, sealed all the same:
# check ends with 3 or 6 as the list says, a restore refuses or is right.
set -eu

ref=$TOP/tests/ref
python=/usr/bin/python3
cd "$TMP"

if ! "$python" -c 'import cryptography, zstandard' 2>/dev/null; then
	echo "needs python3-cryptography and python3-zstandard"
	exit 77
fi
if [ ! -x "$VMSNAP" ]; then
	echo "no vmsnap command has been built"
	exit 77
fi

export VMSNAP_PASSPHRASE="correct horse"
"$python" "$ref/forge.py" good good
"$python" "$ref/forge.py" list >list
bad=0
count=0

say() {
	echo "BAD $name: $*"
	tail -n 2 out
	bad=$((bad + 1))
}

try() {
	rm -rf store got
	"$python" "$ref/forge.py" make "$name" store
	export VMSNAP_STORE="$TMP/store"
	rc=0
	timeout 60 "$VMSNAP" check --read-data >out 2>&1 </dev/null || rc=$?
	[ "$rc" = "$want" ] || say "check: exit $rc, not $want"
	rc=0
	timeout 60 "$VMSNAP" restore vm got >out 2>&1 </dev/null || rc=$?
	case $rc in
	0)
		cmp -s got good || say "restore gave wrong bytes"
		;;
	3 | 4 | 6)
		[ ! -e got ] || say "restore refused, but left a file"
		;;
	*)
		say "restore: exit $rc"
		;;
	esac
	count=$((count + 1))
}

name=honest
want=0
try
cmp got good || say "an honest store was not restored"
while read -r name want readers; do
	[ "$readers" = all ] || continue
	try
done <list
[ "$count" -gt 200 ] || { echo "only $count forgeries ran"; exit 1; }
echo "$count stores, $bad answered wrongly"
[ "$bad" = 0 ]
