#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Arrows point down only: cli, fuse, kvm-agent -> vmsnap -> format; inside
# format: image -> store -> base. Nothing shipped includes tests/.
set -u
cd "${TOP:-.}" || exit 1
bad=0
refuse() { # folder, pattern of what it may not include
	local found
	[ -d "$1" ] || return 0
	found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]+\"$2" \
		--include='*.c' --include='*.h' "$1")
	[ -z "$found" ] && return 0
	printf '%s\n' "$found"
	echo "$1 may not include $2"
	bad=1
}
refuse format/base '(format/store|format/image|vmsnap|cli|fuse|nbd|kvm-agent|tests)/'
refuse format/store '(format/image|vmsnap|cli|fuse|nbd|kvm-agent|tests)/'
refuse format/image '(vmsnap|cli|fuse|nbd|kvm-agent|tests)/'
refuse vmsnap '(cli|fuse|nbd|kvm-agent|tests)/'
refuse cli '(format/(base|store|image)|fuse|nbd|kvm-agent|tests)/'
refuse cli 'vmsnap/(engine|scan|filter|fetch|source|target|backup_disk)'
refuse fuse '(format|cli|nbd|kvm-agent|tests)/'
refuse nbd '(format|cli|fuse|kvm-agent|tests)/'
for door in fuse nbd; do
	refuse $door 'vmsnap/([a-uw-z]|v[^m]|vm[^s]|vms[^n]|vmsnap[^.])'
done
refuse kvm-agent '(cli|fuse|nbd|tests)/'
# Includes are rooted: none is relative to the file.
found=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"[^/"]+"' \
	--include='*.c' --include='*.h' format vmsnap cli fuse nbd \
	kvm-agent tests)
if [ -n "$found" ]; then
	printf '%s\n' "$found"
	echo 'write the whole path: #include "format/store/pack.h"'
	bad=1
fi
exit $bad
