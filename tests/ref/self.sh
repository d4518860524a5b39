#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The second reader against its own writer and forgeries: no command needed.
set -eu

cd "$TMP"
. "$TOP/tests/ref/lib.sh"

if command -v xxhsum >/dev/null; then
	for size in 0 1 3 4 8 9 16 17 40 72 88 128 129 240 241 320 1025 4097; do
		head -c "$size" /dev/urandom >sample
		want=$(xxhsum -H3 sample | sed 's/.*= //')
		got=$(cd "$ref" && "$python" -c '
import sys
from vsref.xxh3 import xxh3_64
print("%016x" % xxh3_64(open(sys.argv[1], "rb").read()))' "$TMP/sample")
		[ "$got" = "$want" ] || fail "XXH3 of $size bytes: $got, not $want"
	done
fi

"$python" "$ref/examples.py" "$TOP/spec/store.md" ||
	fail "an example of the page does not hold"

round_trip() {
	"$python" "$ref/write.py" "$1" "$1.files" $2
	rc=0
	"$python" "$ref/read.py" "$1" check --tags >out 2>&1 || rc=$?
	[ "$rc" = "$3" ] || { cat out; fail "check of $1: $rc, not $3"; }
	count=0
	for file in "$1.files"/*; do
		name=${file##*/}
		disk=${name##*.}
		rest=${name%.*}
		"$python" "$ref/read.py" "$1" restore \
			"${rest%.*}@${rest##*.}:$disk" got
		"$python" "$ref/same.py" got "$file" || fail "$name differs"
		count=$((count + 1))
	done
	[ "$count" -ge 8 ] || fail "only $count disks in $1"
}

unset VMSNAP_PASSPHRASE
round_trip plain "" 0
export VMSNAP_PASSPHRASE="correct horse"
round_trip sealed "" 0
# One copy of a chunk is damaged: told, and read from the other.
round_trip damaged --damage-a-copy 3
VMSNAP_PASSPHRASE="another passphrase" "$python" "$ref/read.py" sealed list \
	>/dev/null || fail "the second slot does not open the store"
# The recovery copy, as printed and as typed; one wrong digit is told.
"$python" "$ref/read.py" sealed recovery >copy
[ "$(wc -l <copy)" = 52 ] || fail "the recovery copy has not 52 lines"
"$python" "$ref/read.py" sealed recovery copy || fail "recovery copy"
{
	echo "# typed"
	sed -e '2,51s/[a-f]/\U&/g' -e 's/ /  /3' -e 's/^/ /' -e 's/$/\r/' copy
} >typed
"$python" "$ref/read.py" sealed recovery typed || fail "typed recovery copy"
sed '20s/ 0/ 1/' copy >wrong
rc=0
"$python" "$ref/read.py" sealed recovery wrong 2>out || rc=$?
{ [ "$rc" = 3 ] && grep -q "line 20" out; } || fail "wrong digit: exit $rc"

rc=0
VMSNAP_PASSPHRASE=wrong "$python" "$ref/read.py" sealed list 2>/dev/null ||
	rc=$?
[ "$rc" = 7 ] || fail "wrong passphrase: exit $rc, not 7"

"$python" "$ref/forge.py" self >forged.out || {
	grep -v '^ok' forged.out
	fail "a forgery was taken for good"
}
