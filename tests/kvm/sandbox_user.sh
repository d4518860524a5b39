#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A plain user's machine: walls from a user namespace; root still controls it,
# and it is ended although its descriptors are not shown to its user.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

[ "$(id -u)" = 0 ] || skip "needs root, to become a plain user"
if [ -z "${USER_STAGE:-}" ]; then
	# KVM for everybody, in here only.
	USER_STAGE=mount exec unshare --mount --propagation private \
		bash "$TOP/tests/kvm/sandbox_user.sh"
fi
mkdir device user
mount -t tmpfs none device
cp -a /dev/kvm device/kvm
chmod 666 device/kvm
mount --bind device/kvm /dev/kvm
chmod 711 "$TMP"
chown 65534:65534 user
cp "$BUILD/tests/kvm/echo.elf" user/
as_user() {
	setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
		--bounding-set=-all env HOME="$TMP/user" \
		VMSNAP_HOME="$TMP/user/home" "$@"
}
as_user test -x "$VMSNAP" || skip "a plain user can't get at $VMSNAP"
machine=user/home/machines/web
trap '[ ! -e $machine/agent.pid ] || kill -9 "$(cat $machine/agent.pid)" 2>/dev/null || :' EXIT
log_has() { grep -q "$1" "$machine/console.log"; }

cd user
truncate -s 8M raw
chown 65534 raw
cd ..
as_user "$VMSNAP" image create -q user/image.vsi --size 8M
expect 0 as_user "$VMSNAP" run web --kernel user/echo.elf --memory 16M --in-place \
	--disk user/raw --disk user/image.vsi
until_true log_has '^up'
pid=$(cat $machine/agent.pid)
[ "$(awk '$1 == "Uid:" { print $2, $3, $4, $5 }' /proc/"$pid"/status)" = \
	"65534 65534 65534 65534" ] || fail "another user"
if as_user unshare --user true 2>/dev/null; then
	[ "$(readlink /proc/"$pid"/ns/user)" != "$(readlink /proc/self/ns/user)" ] ||
		fail "no user namespace"
	[ "$(readlink /proc/"$pid"/ns/net)" != "$(readlink /proc/self/ns/net)" ] ||
		fail "the host's network"
	[ ! -e /proc/"$pid"/root/etc ] || fail "it sees /etc"
	[ ! -s $machine/agent.log ] || fail "$(cat $machine/agent.log)"
else
	grep -q 'no namespaces' $machine/agent.log || fail "not said"
fi
for status in /proc/"$pid"/task/*/status; do
	grep -q 'Seccomp:.2' "$status" || fail "a thread without a filter"
done

# Its user and root may talk to it; nobody else gets that far.
expect 0 as_user "$VMSNAP" pause web
export VMSNAP_HOME=$TMP/user/home
expect 0 vmsnap resume web
expect 0 vmsnap ps
says '^web +running'

# One that does not answer. Another process of that number is none of its.
kill -STOP "$pid"
mv $machine/agent.start kept
echo 1 >$machine/agent.start
chown 65534 $machine/agent.start
if ! grep -q -a -e __asan_init -e __tsan_init "$BUILD/vmsnap"; then
	expect 1 as_user "$VMSNAP" stop --force web
	errs 'not its agent'
fi
mv kept $machine/agent.start
expect 0 as_user "$VMSNAP" stop --force web
expect 0 as_user "$VMSNAP" ps
says '^web +crashed'
expect 0 as_user "$VMSNAP" rm web
as_user "$VMSNAP" image check -q user/image.vsi || fail "the image is damaged"
