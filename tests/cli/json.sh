#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every --json document: valid, one line, the keys of the design.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"

keys() {
	[ "$(wc -l <out)" = 1 ] || fail "not one line"
	holds "d['type'] == '$1'"
	shift
	for key in "$@"; do holds "'$key' in d"; done
}
expect 0 vmsnap init --json
keys store plaintext
disk d.raw 1000000 1
snapshot_keys="id name label time disks logical_bytes scanned_bytes
	unchanged_bytes new_chunks new_content_bytes stored_bytes elapsed_us"
expect 0 vmsnap backup --json vm d.raw --label one
keys snapshot $snapshot_keys
holds "set(d['disks'][0]) >= {'name', 'size_bytes', 'root'}"
holds "len(d['id']) == 64 and d['time'].endswith('Z') and d['label'] == 'one'"
holds "d['elapsed_us'] > 0 and d['stored_bytes'] > 0"
cp out backup.json
expect 0 vmsnap show --json vm
holds "d['id'] == json.load(open('backup.json'))['id']"
keys snapshot $snapshot_keys
poke d.raw 70000 xyz
expect 0 vmsnap backup --json vm d.raw
holds "d['label'] is None and d['new_chunks'] >= 1 and d['unchanged_bytes'] > 0"
expect 0 vmsnap list --json
keys list snapshots
for key in $snapshot_keys; do holds "'$key' in d['snapshots'][0]"; done
holds "[s['label'] for s in d['snapshots']] == ['one', None]"
expect 0 vmsnap list --pins --json
keys pins pins
expect 0 vmsnap diff --json vm@-1 vm
keys diff a b disks
expect 0 vmsnap restore --json vm out.raw
keys restore size_bytes data_bytes written_bytes damaged
expect 0 vmsnap verify --json vm
keys verify snapshots
holds "d['snapshots'][0]['good'] and d['snapshots'][0]['size_bytes'] == 1000000"
expect 0 vmsnap check --json --read-data
keys check errors chunks read_bytes
holds "d['errors'] == [] and d['read_bytes'] > 0"
expect 0 vmsnap stats --json --histogram
keys stats logical_bytes unique_bytes dedup_ratio by_ratio snapshots
expect 0 vmsnap key list --json
keys keys keys
expect 0 vmsnap image create --json i.vsi --size 64K
keys image file size_bytes
expect 0 vmsnap image rm --json i.vsi
keys image-removed file
expect 0 vmsnap keeper status --json --home home
keys keepers keepers
expect 0 vmsnap keeper stop --json --home home
keys keepers-stopped stores
expect 0 vmsnap ps --json --home home
keys machines machines
for verb in pause resume stop rm; do
	expect 0 vmsnap $verb --all --json --home home
	holds "d['names'] == []"
done
