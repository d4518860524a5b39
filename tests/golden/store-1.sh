#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A store of format version 1 as the first release wrote it: every later one
# reads it. Its bytes never change; a new version adds a file beside it.
set -euo pipefail
one=7846987c2bc4138d7cc9a31094668375523021f8bdc058ff6958e0b8e3dc06f6
two=6b9f474eb7ea9ebe0f6e660b44986ace0a201593a4e350f83caf502e502de08d
tar -xJf "$TOP/tests/golden/store-1.tar.xz"
export VMSNAP_STORE=$PWD/store VMSNAP_PASSPHRASE='golden words'

is() { # file, sum
	echo "$2  $1" | sha256sum --check --quiet
}
"$VMSNAP" check --read-data
"$VMSNAP" restore vm@one a.raw
is a.raw "$one"
"$VMSNAP" restore --disk disk0 vm@two b.raw
is b.raw "$two"
"$VMSNAP" restore --disk other vm@two - >c.raw
is c.raw "$one"
# And it can still be added to.
"$VMSNAP" backup vm b.raw
"$VMSNAP" restore vm d.raw
is d.raw "$two"
if VMSNAP_PASSPHRASE=wrong "$VMSNAP" list; then
	echo "a wrong passphrase opened it"
	exit 1
fi
