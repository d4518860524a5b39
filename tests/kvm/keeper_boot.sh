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

# As another user, in places of his own. Who has the right to /dev/kvm is this
# host's matter: where he has none he gets it in a namespace of mounts.
[ "$(id -u)" = 0 ] || exit 0
mkdir user bin
cp "$BUILD"/{vmsnap,vmsnap-keeper,kvm-agent} bin/
cp raw user/raw
chmod 755 . bin bin/*
chown -R 65534:65534 user
mknod kvm c 10 "$(stat -c %Lr /dev/kvm)" && chmod 666 kvm
unshare -m true 2>/dev/null || {
	echo "no namespace of mounts: not tried as another user"
	exit 0
}
export VMSNAP_HOME=$TMP/user/home VMSNAP_STORE=$TMP/user/store
cat >as_user.sh <<'USER'
mount --bind "$TMP/kvm" /dev/kvm
exec setpriv --reuid 65534 --regid 65534 --clear-groups \
	env HOME="$TMP/user" "$TMP/bin/vmsnap" "$@"
USER
by_user() {
	shift
	unshare -m sh as_user.sh "$@"
}
vmsnap() { by_user vmsnap "$@"; }
vmsnap init -q
vmsnap backup -q boot user/raw
boots machine
owner=$(stat -c %u user/home/keepers)
[ "$owner" = 65534 ] || fail "the keeper was user $owner's"
