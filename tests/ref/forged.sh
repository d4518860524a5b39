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

"$python" "$ref/forged.py" "$VMSNAP"
