#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The recovery copy brings a store back whose config and keys are gone.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk d.raw 100000 1
vmsnap backup -q vm d.raw
expect 0 vmsnap key export copy
says 'written to copy'
[ "$(stat -c %a copy)" = 600 ]
expect 0 vmsnap key export
same copy out
expect 1 vmsnap key export copy
errs "'copy' exists"
strings copy | grep -q 'correct horse' && fail "the passphrase is in the copy"
expect 0 vmsnap key add --from copy
says 'none was missing'
rm -r store/config store/keys
expect 4 vmsnap list
expect 0 env -u VMSNAP_PASSPHRASE "$VMSNAP" key add --from copy
expect 0 vmsnap restore vm out.raw
same d.raw out.raw
rm store/keys/*
expect 0 vmsnap key add --from copy
expect 0 vmsnap verify vm
# One wrong digit is found, and told with its line.
rm store/config
python3 - <<'EOF'
text = open("copy").read().split("\n")
at = next(i for i, l in enumerate(text) if len(l) > 40 and not l.startswith("#"))
line = text[at]
text[at] = line[:20] + ("1" if line[20] == "0" else "0") + line[21:]
open("typo", "w").write("\n".join(text))
EOF
expect 3 vmsnap key add --from typo
errs 'line'
[ ! -e store/config ]
expect 4 vmsnap key add --from absent
expect 2 vmsnap key add --from copy --label x
