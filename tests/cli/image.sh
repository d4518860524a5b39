#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Live images without a machine: made, looked at, absorbed, exported, removed.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

# pins N: so many are in the store.
pins() {
	expect 0 vmsnap list --pins --json
	holds "len(d['pins']) == $1"
}
# whole: the map covers the disk without a gap; d is the list.
whole() {
	expect 0 vmsnap image map "$1" --json
	holds "(d[0]['start'] == 0 and sum(e['length'] for e in d) == $2 and
		all(a['start'] + a['length'] == b['start']
		    for a, b in zip(d, d[1:])))"
}

vmsnap init -q
disk a.raw 6000128 1
truncate -s 5M b.raw
poke b.raw 1048576 "something"
vmsnap backup -q vm a.raw more=b.raw
vmsnap backup -q one a.raw

# Blank.
expect 0 vmsnap image create blank.vsi --size 1G
says 'blank.vsi: 1.0 GiB, blank'
[ -f blank.vsi ] && [ -f blank.vsi.1 ]
expect 1 vmsnap image create blank.vsi --size 1G
errs 'there already'
expect 0 vmsnap image info --json blank.vsi
holds "d['size_bytes'] == 1 << 30 and d['base'] is None and d['data_bytes'] == 0"
whole blank.vsi $((1 << 30))
holds "len(d) == 1 and d[0]['zero'] and not d[0]['data']"
expect 0 vmsnap image resize blank.vsi --size 3M
expect 2 vmsnap image resize blank.vsi --size 1000
expect 0 vmsnap image export blank.vsi blank.raw
truncate -s 3M zeros
same zeros blank.raw
pins 0
# It needs no store until it is absorbed.
VMSNAP_STORE='' expect 0 vmsnap image info blank.vsi
VMSNAP_STORE='' expect 0 vmsnap image map blank.vsi
VMSNAP_STORE='' expect 2 vmsnap image absorb blank.vsi
expect 0 vmsnap image snapshot blank.vsi empty --json
holds "d['name'] == 'empty' and d['scanned_bytes'] == 0"
pins 1
expect 0 vmsnap image rm blank.vsi
[ ! -e blank.vsi ] && [ ! -e blank.vsi.1 ] && [ ! -e blank.vsi.2 ]
pins 0

# From a snapshot.
expect 2 vmsnap image create x.vsi --from vm
errs 'say which with --disk'
expect 4 vmsnap image create x.vsi --from vm --disk none
expect 4 vmsnap image create x.vsi --from nothing
expect 0 vmsnap image create x.vsi --from vm --disk more
says 'x.vsi: 5.0 MiB, from vm, snapshot [0-9a-f]{12}, more'
pins 1
holds "(d['pins'][0]['owner'] == 'image' and
	d['pins'][0]['path'].endswith('/x.vsi'))"
whole x.vsi $((5 << 20))
holds "([e['zero'] for e in d] == [True, False, True] and
	d[1]['start'] == 1048576 and d[1]['depth'] == 1)"
expect 0 vmsnap image export x.vsi x.raw
same b.raw x.raw
expect 1 vmsnap image export x.vsi x.raw
expect 0 vmsnap image export x.vsi x.raw --force
vmsnap image export x.vsi - | cmp - b.raw

# As a source: nothing of the base is read, and nothing is stored.
expect 0 vmsnap backup copy x.vsi --json
holds "(d['scanned_bytes'] == 0 and d['new_chunks'] == 0 and
	d['unchanged_bytes'] == 65536)"
expect 0 vmsnap diff --json copy vm
expect 0 vmsnap restore copy copy.raw
same b.raw copy.raw
# Larger: the zeros beyond are the image's.
expect 0 vmsnap image resize x.vsi --size 7M
expect 0 vmsnap image snapshot x.vsi grown --label big
says '^grown@big, snapshot '
expect 0 vmsnap restore grown@big grown.raw
truncate -s 7M b.raw
same b.raw grown.raw
pins 1
expect 1 vmsnap image snapshot x.vsi grown --label big
expect 2 vmsnap image snapshot x.vsi 'no name'
expect 0 vmsnap image absorb x.vsi --json
holds "d['type'] == 'absorb' and d['new_chunks'] == 0"
pins 1
expect 0 vmsnap image compact x.vsi
expect 0 vmsnap image check x.vsi
says '0 errors'
expect 0 vmsnap image check x.vsi --json
holds "d['errors'] == []"

# Sizes that are no multiple of a sector are filled up with zeros.
head -c 100001 a.raw >odd.raw
vmsnap backup -q odd odd.raw
expect 0 vmsnap image create odd.vsi --from odd
expect 0 vmsnap image absorb odd.vsi
expect 0 vmsnap image export odd.vsi odd.out
truncate -s 100352 odd.raw
same odd.raw odd.out

# The store moves: the image says where it was, -s where it is.
mv store moved
expect 4 vmsnap image export x.vsi y.raw
errs '/store'
expect 0 vmsnap -s moved image export x.vsi y.raw
same b.raw y.raw
vmsnap -s other init -q
expect 2 vmsnap -s other image export x.vsi z.raw
errs 'another store'
expect 4 vmsnap -s other backup vm x.vsi
errs "the store that image 'x.vsi' stands on"
expect 4 vmsnap image rm x.vsi
[ -f x.vsi ]
# Into another store, all of it goes: the ids here are not the ids there.
mv moved store
poke b.raw 2000000 "only in a layer"
vmsnap image create -q both.vsi --from vm --disk more
vmsnap image rebase -q both.vsi grown
vmsnap backup -q more b.raw
vmsnap image create -q layered.vsi --from more
vmsnap image rebase -q layered.vsi grown
expect 0 vmsnap -s other backup vm layered.vsi second=both.vsi third=b.raw
expect 0 vmsnap -s other restore vm --disk disk0 there.raw
same b.raw there.raw
expect 0 vmsnap -s other check --read-data
expect 0 vmsnap backup vm2 layered.vsi
expect 0 vmsnap restore vm2 there.raw --force
same b.raw there.raw
for image in both layered; do expect 0 vmsnap image rm $image.vsi; done
mv store moved
expect 0 vmsnap image rm x.vsi --force
errs 'its pin stays'
[ ! -e x.vsi ]
mv moved store
pins 2

# In use, damaged, not an image.
expect 0 vmsnap image create x.vsi --from one
exec 9<>x.vsi
python3 - <<'PY'
import fcntl, os, struct
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
fcntl.fcntl(9, 37, lock)
PY
expect 5 vmsnap image info x.vsi
expect 5 vmsnap image rm x.vsi
expect 5 vmsnap backup one x.vsi
exec 9>&-
cp b.raw fake.vsi
expect 3 vmsnap image info fake.vsi
expect 3 vmsnap image rm fake.vsi
[ -f fake.vsi ]
expect 3 vmsnap backup one fake.vsi
# A layer that is damaged: exit 3, to write and where it hurts also to read.
expect 0 vmsnap image create hurt.vsi --size 8M
truncate -s 16K zeros
dd if=zeros of=hurt.vsi.1 conv=notrunc status=none
expect 3 vmsnap image compact hurt.vsi
errs "'hurt.vsi' is damaged"
expect 3 vmsnap image resize hurt.vsi --size 16M
expect 3 vmsnap image map hurt.vsi
expect 3 vmsnap image export hurt.vsi hurt.raw
expect 3 vmsnap backup one hurt.vsi
errs "'hurt.vsi' is damaged at byte 0"
expect 0 vmsnap image rm hurt.vsi
# A guest chooses what its raw disk holds, and so must not choose the format.
cp x.vsi guest.raw
expect 0 vmsnap backup guest guest.raw
expect 0 vmsnap restore guest guest.out
same guest.raw guest.out
poke x.vsi 100 XXXX
expect 3 vmsnap image check x.vsi
says 'superblock A is damaged'
expect 3 vmsnap image check x.vsi --json
holds "d['damaged'] and not d['repair'] and len(d['errors']) == 1"
expect 0 vmsnap image check x.vsi --repair
says '1 error, mended; nothing is lost'
expect 0 vmsnap image check x.vsi
says '^0 errors$'
# What is lost stays a failure of the run that mended the rest.
poke x.vsi 100 XXXX
mv x.vsi.1 away
expect 3 vmsnap image check x.vsi --repair
says '2 errors, mended where'
mv away x.vsi.1
expect 0 vmsnap image check x.vsi
poke x.vsi 100 XXXX
poke x.vsi 4196 XXXX
expect 3 vmsnap image export x.vsi never.raw
[ ! -e never.raw ]
expect 0 vmsnap image rm x.vsi
expect 4 vmsnap image info x.vsi
expect 4 vmsnap image rm x.vsi
