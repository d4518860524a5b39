#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is no store: exit 4 and a hint; init never writes over anything.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

disk d.raw 100000 1
expect 4 vmsnap list
expect 4 vmsnap backup vm d.raw
errs "not a store .*'[^']*store' has no 'config'"
[ ! -e store ]
mkdir empty full
echo mine >full/file
expect 4 vmsnap -s empty list
expect 4 vmsnap -s full list
expect 4 vmsnap -s d.raw list
expect 1 vmsnap -s full init
errs 'full'
[ "$(ls full)" = file ]
expect 1 vmsnap -s d.raw init
expect 0 vmsnap -s empty init
expect 1 vmsnap -s empty init
errs 'a store already'
# Cut off before its last step, init is run again.
rm empty/config
expect 4 vmsnap -s empty list
errs 'run vmsnap init again'
expect 0 vmsnap -s empty init
expect 0 vmsnap -s empty list
silent err
expect 6 vmsnap -s ssh://host/x list
expect 6 vmsnap -s s3://bucket/x list
expect 6 vmsnap -s rados://pool/x init
expect 1 vmsnap -s /dev/null/x init
env -u VMSNAP_STORE true
unset VMSNAP_STORE
expect 2 vmsnap list
errs '-s STORE|VMSNAP_STORE'
expect 2 vmsnap init empty
errs '-s'
