#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images that get another base and stay the same disk.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

pins() {
	expect 0 vmsnap list --pins --json
	holds "len(d['pins']) == $1"
}
# is FILE RAW: the image holds these bytes.
is() { vmsnap image export "$1" - | cmp - "$2" || fail "$1 is not $2"; }

vmsnap init -q
disk a.raw 6000128 1
poke a.raw 200000 "as it was"
cp a.raw b.raw
poke b.raw 200000 "changed"
disk c.raw 9000000 2
vmsnap backup -q vm a.raw
vmsnap backup -q vm b.raw --label later
vmsnap backup -q two a.raw more=c.raw

vmsnap image create -q x.vsi --from vm@-1
expect 0 vmsnap image rebase x.vsi vm@later
says '^x.vsi: on vm, snapshot [0-9a-f]{12}: 64.0 KiB compared, 4.0 KiB kept$'
is x.vsi a.raw
pins 1
expect 0 vmsnap show --json vm@later
later=$(json "d['id']")
expect 0 vmsnap image info x.vsi --json
holds "d['base']['snapshot'] == '$later' and d['data_bytes'] == 4096"
# Again, and back: the block is in the layer.
expect 0 vmsnap image rebase x.vsi vm@-1 --json
holds "(d['type'] == 'image-rebase' and d['kept_bytes'] == 0 and
	d['compared_bytes'] == 65536 - 4096)"
expect 0 vmsnap image rebase x.vsi vm@-1 --json
holds "d['compared_bytes'] == 0"
is x.vsi a.raw
pins 1

# A larger one: what it has behind the end does not show, not even later.
expect 2 vmsnap image rebase x.vsi two --disk
expect 0 vmsnap image rebase x.vsi two
expect 4 vmsnap image rebase x.vsi two --disk none
expect 0 vmsnap image rebase x.vsi two --disk more
is x.vsi a.raw
expect 0 vmsnap image rebase x.vsi two --disk more --json
holds "d['kept_bytes'] == 0"
expect 0 vmsnap image resize x.vsi --size 10M
truncate -s 10M a.raw
is x.vsi a.raw
expect 0 vmsnap image check x.vsi
# And a blank one.
vmsnap image create -q blank.vsi --size 3M
expect 2 vmsnap image rebase blank.vsi two
errs 'say which with --disk'
expect 0 vmsnap image rebase blank.vsi vm
truncate -s 3M zeros
is blank.vsi zeros
pins 2
expect 0 vmsnap image rm blank.vsi

# What it is not asked for.
expect 2 vmsnap image rebase x.vsi
expect 4 vmsnap image rebase x.vsi nothing
expect 4 vmsnap image rebase none.vsi vm
cp c.raw fake.vsi
expect 3 vmsnap image rebase fake.vsi vm
vmsnap -s other init -q
vmsnap -s other backup -q vm b.raw
expect 2 vmsnap -s other image rebase x.vsi vm
errs 'another store'
exec 9<>x.vsi
python3 - <<'PY'
import fcntl, os, struct
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
fcntl.fcntl(9, 37, lock)
PY
expect 5 vmsnap image rebase x.vsi vm
exec 9>&-
is x.vsi a.raw
pins 1

# The manifest of the old base has gone: its pin holds it until it is not needed.
vmsnap image create -q y.vsi --from vm@later
rm "store/snapshots/$later"
expect 4 vmsnap show vm@later
expect 4 vmsnap image rebase y.vsi vm@later
expect 0 vmsnap image rebase y.vsi vm
is y.vsi b.raw
pins 2
expect 0 vmsnap image rm y.vsi

# Killed half-way: the same disk, and the next run goes through.
head -c 60000256 /dev/urandom >big.raw
vmsnap backup -q big big.raw
vmsnap image create -q z.vsi --from big
before=$(stat -c %b z.vsi.1)
"$VMSNAP" image rebase z.vsi vm &
pid=$!
begun() { [ "$(stat -c %b z.vsi.1)" -gt $((before + 2000)) ] || ! kill -0 $pid; }
until_true begun
kill -9 $pid 2>/dev/null || :
wait $pid || :
is z.vsi big.raw
expect 0 vmsnap image rebase z.vsi vm
is z.vsi big.raw
expect 0 vmsnap image check z.vsi
