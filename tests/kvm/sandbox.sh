#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The walls around a running agent, as the kernel tells of them; spec/threats.md.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
guests=$BUILD/tests/kvm
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

sanitized() { grep -q -a -e __asan_init -e __tsan_init "$BUILD/vmsnap"; }
is_state() {
	[ "$(vmsnap ps --json | jq -r ".machines[] | select(.name == \"$1\") | .state")" = "$2" ]
}
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
pid_of() { cat "home/machines/$1/agent.pid"; }
# field STATUS-FILE NAME
field() { awk -v name="$2:" '$1 == name { print $2 }' "$1"; }

# The process is where the machine's directory says, also for a plain user.
truncate -s 8M raw
mkdir images
vmsnap image create -q images/image.vsi --size 8M
echo secret >images/beside
ln -s raw link
# What a shell has left open stays there.
exec 8<"$TOP/README.md"
export AWS_SECRET_ACCESS_KEY=not-for-guests
expect 0 vmsnap run web --kernel "$guests/echo.elf" --memory 16M --cpus 2 \
	--in-place --disk link --disk images/image.vsi
exec 8<&-
unset AWS_SECRET_ACCESS_KEY
until_true log_has web '^up'
pid=$(pid_of web)
! grep -qa not-for-guests /proc/"$pid"/environ || fail "it has our secrets"
# Each thread: a filter, of its kind too; no right of any sort.
count=0
for status in /proc/"$pid"/task/*/status; do
	name=$(field "$status" Name)
	[ "$(field "$status" Seccomp)" = 2 ] || fail "$name has no filter"
	[ "$(field "$status" Seccomp_filters)" -ge 2 ] ||
		fail "$name has the process' filter only"
	[ "$(field "$status" NoNewPrivs)" = 1 ] || fail "$name may gain rights"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(field "$status" $set)" = 0000000000000000 ] ||
			fail "$name: $set $(field "$status" $set)"
	done
	count=$((count + 1))
done
[ "$count" -ge 4 ] || fail "$count threads"
limits() { grep -Eq "^$1 +$2 +$2 " /proc/"$pid"/limits || fail "limits: $1"; }
limits 'Max core file size' 0
locked=$((8 << 20))
most=$(ulimit -H -l)
[ "$most" = unlimited ] || [ "$most" -ge 8192 ] || locked=$((most << 10))
limits 'Max locked memory' "$locked"
limits 'Max open files' 4096
# What is no longer dumpable belongs to root.
sanitized || [ "$(stat -c %u /proc/"$pid"/maps)" = 0 ] || fail "it is dumpable"

# Root's machine is a user of its own, each another one.
machine_user() { cat "home/machines/$1/user"; }
uids() { awk '$1 == "Uid:" || $1 == "Gid:" { print $2, $3, $4, $5 }' "$1"; }
mapped_mounts() {
	[ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null &&
		[ ! -s home/machines/web/agent.log ]
}
if mapped_mounts; then
	user=$(machine_user web)
	for status in /proc/"$pid"/task/*/status; do
		[ "$(uids "$status" | sort -u)" = "$user $user $user $user" ] ||
			fail "$(field "$status" Name) runs as $(uids "$status")"
		grep -Eq '^Groups:[[:space:]]*$' "$status" || fail "$(cat "$status")"
	done
	expect 0 vmsnap run -q other --kernel "$guests/echo.elf" --memory 4M
	[ "$(machine_user other)" != "$user" ] || fail "two machines are one user"
	expect 0 vmsnap rm --force other
	# It makes its layers, and they are those of whose the folder is.
	[ -e images/image.vsi.2 ] || fail "no layer was made: $(ls images)"
	[ -z "$(find images ! -user 0)" ] || fail "$(ls -ln images)"
elif [ "$(id -u)" = 0 ]; then
	grep -Eq 'no namespaces|no user of its own' home/machines/web/agent.log ||
		fail "not said"
fi

# Descriptors: what the machine is made of.
left=$(find /proc/"$pid"/fd -mindepth 1 -printf '%l\n' | grep -Ev \
	-e '^(/dev/null|/dev/kvm|pipe:\[|socket:\[|anon_inode:)' \
	-e "^$TMP/(raw|images/image\\.vsi(\\.[0-9]+)?)\$" \
	-e "^$TMP/home/machines/web/(agent\\.log|console\\.log|end\\.json|lock)\$" \
	-e "^$guests/echo.elf\$" -e '^/proc/[0-9]*/statm$' || :)
sanitized || [ -z "$left" ] || fail "open: $left"

# Disks have rings of io_uring, where this host has that.
if [ "$locked" = $((8 << 20)) ] &&
	VMSNAP_IO=uring vmsnap image create -q ring.vsi --size 8M 2>/dev/null; then
	find /proc/"$pid"/fd -printf '%l\n' | grep -q io_uring ||
		fail "it has no io_uring, and this host has"
fi

# Namespaces of its own, where this host has them.
if ! unshare --mount true 2>/dev/null; then
	grep -q 'no namespaces' home/machines/web/agent.log || fail "not said"
	echo "this host gives no namespaces: the agent says so"
	exit 0
fi
for kind in mnt net ipc uts; do
	[ "$(readlink /proc/"$pid"/ns/$kind)" != "$(readlink /proc/self/ns/$kind)" ] ||
		fail "the $kind namespace is the host's"
done
[ "$(nsenter -t "$pid" -n sh -c 'tail -n +3 /proc/net/dev' | wc -l)" = 1 ] ||
	fail "it has a network"
! grep -v 'no user of its own' home/machines/web/agent.log || fail "it complains"

# Of the host's files: what was handed over.
seen=$(awk '{ print $5 }' /proc/"$pid"/mountinfo | sort)
wanted=$(printf '%s\n' / /dev/kvm "$TMP/images" "$TMP/raw" \
	"$TMP"/home/machines/web{,/agent.pid,/agent.start,/lock,/machine.json} \
	$([ ! -e home/machines/web/user ] || echo "$TMP/home/machines/web/user") | sort)
[ "$seen" = "$wanted" ] || fail "it sees: $seen"
[ "$(ls /proc/"$pid"/root)" = "$(printf '%s\n' dev "${TMP:1}" | cut -d/ -f1 | sort)" ] ||
	fail "its root has: $(ls /proc/"$pid"/root)"
while read -r _ _ _ _ point options _; do
	case ,$options, in
	*,nosuid,*) ;;
	*) fail "$point: $options" ;;
	esac
	case ,$options, in
	*,noexec,*) ;;
	*) fail "$point: $options" ;;
	esac
	case $point in
	/dev/kvm) continue ;;
	esac
	case ,$options, in
	*,nodev,*) ;;
	*) fail "$point: $options" ;;
	esac
	case $point in
	/ | */machine.json | */lock | */agent.pid | */agent.start | */user)
		[ "${options%%,*}" = ro ] || fail "$point: $options"
		;;
	esac
done </proc/"$pid"/mountinfo
expect 0 vmsnap rm --force web
