#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command refuses what breaks one rule of the page, sealed all the same:
# check ends with 3 or 6 as the list says, a restore refuses or is right.
set -eu

cd "$TMP"
. "$TOP/tests/ref/lib.sh"
needs_command

"$python" "$ref/forged.py" "$VMSNAP"
