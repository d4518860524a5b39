#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A machine that boots from a snapshot's own disk; and all of it as a user who
# has no right but to /dev/kvm.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"
. "$TOP/tests/kvm/lib_bzimage.sh"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT

uuid=01234567-89ab-cdef-0123-456789abcdef
mkdir -p root/boot root/etc root/sbin
make_bzimage root/boot/vmlinuz-1
printf 'its initrd' >root/boot/initrd.img-1
mkfs.ext4 -q -F -U $uuid -d root raw 16M

# by_user COMMAND...: as this user, or as one without rights.
by_user() { "$@"; }
boots() {
	expect 0 by_user "$VMSNAP" run "$1" --from boot --memory 64M
	said() { grep -q "root=UUID=$uuid ro console=ttyS0 its initrd" "$VMSNAP_HOME/machines/$1/console.log"; }
	until_true said "$1"
	expect 0 by_user "$VMSNAP" keeper status
	says '^[0-9a-f]{12}'
	ended() { by_user "$VMSNAP" ps --json | jq -e '.machines[0].state == "stopped"' >/dev/null; }
	until_true ended
	expect 0 by_user "$VMSNAP" rm "$1"
	expect 0 by_user "$VMSNAP" keeper stop
	expect 0 by_user "$VMSNAP" list --pins
	silent out
}

vmsnap init -q
vmsnap backup -q boot raw
boots machine

# As another user, in places of his own.
[ "$(id -u)" = 0 ] || exit 0
group=$(stat -c %g /dev/kvm)
mkdir user bin
cp "$BUILD"/{vmsnap,vmsnap-keeper,kvm-agent} bin/
chmod 755 . bin bin/*
user() {
	setpriv --reuid 65534 --regid "$group" --clear-groups env HOME="$TMP/user" "$@"
}
cp raw user/raw
chown -R 65534:"$group" user
if ! user sh -c ': <>/dev/kvm' 2>/dev/null; then
	echo "another user has no right to /dev/kvm: not tried as one"
	exit 0
fi
export VMSNAP_HOME=$TMP/user/home VMSNAP_STORE=$TMP/user/store
VMSNAP=$TMP/bin/vmsnap
by_user() { user "$@"; }
vmsnap() { user "$VMSNAP" "$@"; }
vmsnap init -q
vmsnap backup -q boot user/raw
boots machine
