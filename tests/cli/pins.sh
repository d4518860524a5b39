#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pins that nothing stands on: told from those that are used, and removed.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

pins() {
	expect 0 vmsnap list --pins --json
	holds "len(d['pins']) == $1"
}
# is PATH STATE: of the one pin for it; its id to $pin.
is() {
	expect 0 vmsnap list --pins --json
	holds "[p['state'] for p in d['pins'] if p['path'] == '$1'] == ['$2']"
	pin=$(json "[p['id'] for p in d['pins'] if p['path'] == '$1'][0]")
}

vmsnap init -q
disk a.raw 3000000 1
vmsnap backup -q vm a.raw
mkdir here there
vmsnap image create -q here/x.vsi --from vm
x=$TMP/here/x.vsi
is "$x" used
expect 5 vmsnap pin remove "$pin"
errs "image '$x' stands on it"
expect 5 vmsnap pin remove "$pin" --force
pins 1

# Another name in the same folder: it is found. Lost with its files: gone.
mv here/x.vsi here/moved.vsi
mv here/x.vsi.1 here/moved.vsi.1
is "$x" used
expect 5 vmsnap pin remove "$pin" --force
errs "here/moved.vsi' stands on it"
rm -r here/moved.vsi*
is "$x" gone
expect 0 vmsnap list --pins
says "^$pin  [-0-9]+ [:0-9]+  gone  "
expect 0 vmsnap pin remove "${pin:0:8}"
says "^pin $pin removed$"
pins 0

# Another image of that name stands on another pin.
vmsnap image create -q here/x.vsi --from vm
is "$x" used
first=$pin
rm here/x.vsi*
vmsnap image create -q here/x.vsi --from vm
pins 2
holds "sorted(p['state'] for p in d['pins']) == ['gone', 'used']"
expect 0 vmsnap pin remove "$first" --json
holds "d == {'type': 'pin-removed', 'id': '$first'}"
is "$x" used
expect 0 vmsnap image export "$x" -

# What can't be told: the folder is not there, the head can't be read, it is no
# file, the host is another one.
mv here away
is "$x" unknown
expect 1 vmsnap pin remove "$pin"
errs 'is its file system mounted'
errs 'ounted.*--force'
mv away here
poke here/x.vsi 100 XXXX
poke here/x.vsi 4196 XXXX
is "$x" unknown
expect 1 vmsnap pin remove "$pin"
errs "can't be read as an image"
rm here/x.vsi*
mkfifo here/x.vsi here/other.vsi
is "$x" unknown
expect 1 vmsnap pin remove "$pin"
rm here/x.vsi here/other.vsi
is "$x" gone
if unshare -u true 2>/dev/null; then
	elsewhere() { unshare -u sh -c 'hostname elsewhere; exec "$@"' - "$VMSNAP" "$@"; }
	expect 1 elsewhere pin remove "$pin"
	errs "of the host '$(hostname)'"
	pins 1
	expect 0 elsewhere pin remove "$pin" --force
	pins 0
else
	expect 0 vmsnap pin remove "$pin" --force
fi

# A base that is to come, broken off: both pins are somebody's.
vmsnap image create -q here/x.vsi --from vm
head -c 20000000 /dev/urandom >big.raw
vmsnap backup -q big big.raw
before=$(stat -c %b here/x.vsi.1)
"$VMSNAP" image rebase here/x.vsi big &
pid=$!
begun() {
	[ -e here/x.vsi.swap ] && [ "$(vmsnap list --pins | wc -l)" = 2 ] || ! kill -0 $pid
}
until_true begun
kill -9 $pid 2>/dev/null || :
wait $pid || :
expect 0 vmsnap list --pins --json
holds "[p['state'] for p in d['pins']] == ['used'] * len(d['pins'])"
for pin in $(json "' '.join(p['id'] for p in d['pins'])"); do
	expect 5 vmsnap pin remove "$pin" --force
done

# Which one?
expect 2 vmsnap pin remove
expect 2 vmsnap pin remove abc
errs 'at least 8 digits'
expect 4 vmsnap pin remove ffffffffffff
expect 4 vmsnap pin remove '../../config'
expect 2 vmsnap pin
expect 0 vmsnap image rm here/x.vsi
pins 0
# A damaged pin is removed by force only.
vmsnap image create -q here/x.vsi --from vm
is "$x" used
poke "store/pins/$pin" 100 "XXXX"
expect 3 vmsnap list --pins
expect 3 vmsnap pin remove "$pin"
expect 0 vmsnap pin remove "$pin" --force
pins 0
expect 0 vmsnap check
