#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command reads stores that were written from the page alone.
set -eu

cd "$TMP"
. "$TOP/tests/ref/lib.sh"
needs_command

status() {
	want=$1
	shift
	rc=0
	"$@" >out 2>&1 || rc=$?
	[ "$rc" = "$want" ] || { cat out; fail "exit $rc, not $want: $*"; }
}

# store, option of write.py, what check must say
try() {
	"$python" "$ref/write.py" "$1" "$1.files" $2
	export VMSNAP_STORE="$TMP/$1"
	status 0 "$VMSNAP" list
	for word in vm odd.names_and-dots first second; do
		grep -q "$word" out || fail "list of $1 does not say $word"
	done
	status "$3" "$VMSNAP" check --read-data
	for file in "$1.files"/*; do
		name=${file##*/}
		disk=${name##*.}
		rest=${name%.*}
		rm -f got
		status 0 "$VMSNAP" restore "${rest%.*}@${rest##*.}" \
			--disk "$disk" got
		"$python" "$ref/same.py" got "$file" || fail "$name of $1 differs"
	done
	# The command goes on where the other writer left off.
	head -c 300000 /dev/urandom >more
	status 0 "$VMSNAP" backup more "disk0=$TMP/more"
	status 0 "$VMSNAP" backup vm "disk0=$TMP/$1.files/vm.second.disk0"
	for pair in more@latest:more \
		"vm@latest:$1.files/vm.second.disk0"; do
		rm -f got
		"$python" "$ref/read.py" "$1" restore "${pair%%:*}:disk0" got
		"$python" "$ref/same.py" got "${pair#*:}" || fail "$pair differs"
	done
	rc=0
	"$python" "$ref/read.py" "$1" check --tags >out 2>&1 || rc=$?
	[ "$rc" = "$3" ] || { cat out; fail "read.py check of $1: $rc"; }
}

unset VMSNAP_PASSPHRASE
try plain "" 0
export VMSNAP_PASSPHRASE="correct horse"
try sealed "" 0
try damaged --damage-a-copy 3
status 7 env VMSNAP_PASSPHRASE=wrong VMSNAP_STORE="$TMP/sealed" \
	"$VMSNAP" list
status 0 env VMSNAP_PASSPHRASE="another passphrase" \
	VMSNAP_STORE="$TMP/sealed" "$VMSNAP" list
