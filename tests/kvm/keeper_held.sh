#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A keeper whose store hangs: it says that it ends, and can't; by force it is
# ended. A pack of its store is a file on a mount of ours, whose server stands
# still.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

if [ ! -e /dev/fuse ] || [ "$(id -u)" != 0 ]; then
	echo "a mount needs root and /dev/fuse"
	exit 77
fi
export VMSNAP_HOME=$TMP/home
guest=$BUILD/tests/kvm/reader.elf
mounter=
pack=
clean() {
	[ -z "$mounter" ] || kill -CONT "$mounter" 2>/dev/null || :
	vmsnap rm -q --force --all 2>/dev/null || :
	vmsnap keeper stop -q --force 2>/dev/null || :
	[ -z "$pack" ] || umount -l "$pack" 2>/dev/null || :
	umount -l mnt 2>/dev/null || :
}
trap clean EXIT
of() { vmsnap keeper status --json | jq -r ".keepers[0].$1"; }
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
mounted() { [ -n "$(ls mnt 2>/dev/null)" ]; }
# A read of the keeper's waits for the mount's server.
hangs() { grep -qs request_wait_answer "/proc/$server/task/"*/wchan; }
is_gone() { [ ! -e "/proc/$server" ]; }

vmsnap init -q
disk a.raw 1048576 1
vmsnap backup -q a a.raw
pack=$(find store/packs -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
# The pack's bytes come from another store, which is mounted.
VMSNAP_STORE=$TMP/other vmsnap init -q
VMSNAP_STORE=$TMP/other vmsnap backup -q pack "$pack"
mkdir mnt
VMSNAP_STORE=$TMP/other "$VMSNAP" mount --allow-other --foreground mnt &
mounter=$!
until_true mounted
file=$(ls -d mnt/pack/*/disk0.raw | head -1)
mount --bind "$file" "$pack"
vmsnap run -q web --from a --kernel "$guest" --append 'console=ttyS0 loop' --memory 16M
server=$(of process)
until_true log_has web '^pass 0'
vmsnap stop -q --force web
expect 0 vmsnap keeper stop --force
dd if="$pack" iflag=nocache count=0 status=none

expect 0 vmsnap keeper start
server=$(of process)
kill -STOP "$mounter"
vmsnap run -q web
until_true hangs
expect 0 vmsnap keeper stop --force
until_true is_gone
expect 0 vmsnap stop --force web
