# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder begin with; sourced, in the test's directory.

ref=$TOP/tests/ref
python=/usr/bin/python3

skip() {
	echo "$*"
	exit 77
}

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

needs_command() {
	[ -x "$VMSNAP" ] || skip "no vmsnap command has been built"
}

"$python" -c 'import cryptography, zstandard' 2>/dev/null ||
	skip "needs python3-cryptography and python3-zstandard"
