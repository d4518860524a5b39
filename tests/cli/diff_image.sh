#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# diff of live images: what was written to them, whatever they stand on.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

vmsnap init -q
disk a.raw 4000256 1
poke a.raw 1000000 "as it was"
cp a.raw b.raw
poke b.raw 1000000 "is other!"
disk more.raw 2000000 3
vmsnap backup -q vm a.raw
vmsnap backup -q vm b.raw
vmsnap backup -q two a.raw more=more.raw
vmsnap image create -q x.vsi --from vm@-1

# The same as between the snapshots, told in the same words.
expect 0 vmsnap diff --map vm@-1 vm
cp out wanted
expect 0 vmsnap diff --map x.vsi vm
same wanted out
expect 0 vmsnap diff --map vm x.vsi
same wanted out
expect 0 vmsnap diff x.vsi vm@-1
says '^disk0: 0 B of 3.8 MiB differ'
expect 0 vmsnap diff --map x.vsi x.vsi
silent out
# On another base, and the same disk.
expect 0 vmsnap image rebase x.vsi vm
expect 0 vmsnap diff --map x.vsi vm
same wanted out
expect 0 vmsnap diff x.vsi vm@-1
says '^disk0: 0 B '
# Larger: zeros are no difference.
expect 0 vmsnap image resize x.vsi --size 5M
expect 0 vmsnap diff --json ./x.vsi vm@-1
holds "(d['a'] == './x.vsi' and len(d['b']) == 64 and
	d['disks'] == [{'name': 'disk0', 'in_a': True, 'in_b': True,
	'size_a_bytes': 5 << 20, 'size_b_bytes': 4000256, 'differing_bytes': 0}])"

# Which disk of several.
expect 0 vmsnap diff x.vsi two
says '^disk0: 0 B '
expect 0 vmsnap diff two x.vsi --disk more --json
holds "d['disks'][0]['name'] == 'more' and d['disks'][0]['differing_bytes'] > 0"
expect 4 vmsnap diff x.vsi two --disk none
expect 2 vmsnap diff vm two --disk more
expect 2 vmsnap diff x.vsi x.vsi --disk more

# Blank ones need no store; nor need those that are told apart by their base.
vmsnap image create -q blank.vsi --size 4000256
VMSNAP_STORE='' expect 0 vmsnap diff blank.vsi blank.vsi
VMSNAP_STORE='' expect 2 vmsnap diff blank.vsi vm
VMSNAP_STORE='' expect 0 vmsnap diff --json blank.vsi x.vsi
holds "d['disks'][0]['differing_bytes'] > 1000000"

# A snapshot may be called like an image.
vmsnap backup -q odd.vsi a.raw
expect 4 vmsnap diff odd.vsi vm
errs 'odd.vsi'
expect 0 vmsnap diff odd.vsi@latest vm@-1
says '^disk0: 0 B '
# Not there, not an image, in use, of another store, damaged beneath.
expect 4 vmsnap diff none.vsi vm
expect 4 vmsnap diff x.vsi nothing
cp a.raw fake.vsi
expect 3 vmsnap diff fake.vsi vm
vmsnap -s other init -q
vmsnap -s other backup -q vm a.raw
expect 2 vmsnap -s other diff x.vsi vm
errs 'another store'
exec 9<>x.vsi
python3 - <<'PY'
import fcntl, os, struct
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
fcntl.fcntl(9, 37, lock)
PY
expect 5 vmsnap diff x.vsi vm
exec 9>&-
