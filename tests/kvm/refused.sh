#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A KVM that makes no virtual machine, or lacks what a machine needs, is told in
# words with exit status 6; what a machine can do without is not missed. Nothing
# is left of what did not start, and what ran before runs again later.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

export VMSNAP_HOME=$TMP/home
host=$BUILD/tests/kvm/host
guest=$BUILD/tests/kvm/echo.elf
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT

# refused RULE... -- COMMAND...: on a host that refuses it.
refused() { "$host/refuse" "$@"; }
on() { # RULE
	timeout --kill-after=10 300 "$host/refuse" "$1" -- "$BUILD/kvm-agent" \
		--kernel "$BUILD/tests/kvm/hello.elf" --memory 64M </dev/null
}
nothing_is_left() {
	expect 0 vmsnap ps
	silent out
	[ -z "$(ls home/machines)" ] || fail "left: $(ls home/machines)"
	[ -z "$(agents)" ] || fail "an agent is left"
	[ "$(vmsnap keeper status --json | jq '.keepers | length')" = 0 ] ||
		fail "a keeper is left"
}

# Each refusal of KVM_CREATE_VM, with what to do about it.
while IFS='|' read -r code words; do
	expect 6 on "CREATE_VM=$code"
	errs "^kvm-agent: KVM makes no virtual machine: .*: .*$words"
	[ "$(wc -l <err)" = 1 ] || fail "more than a line: $(cat err)"
	silent out
done <<-'END'
	ENOMEM|out of memory
	EBUSY|something else has the processor's virtualization
	EPERM|a rule of this host forbids it
	EACCES|a rule of this host forbids it
	EMFILE|too many files are open
	EIO|see the kernel's log
END

# Each capability that the agent asks for: all of them are in one of the lists.
without="SREGS2 TSC_CONTROL TSC_DEADLINE_TIMER XSAVE2"
used=$(grep -rhow 'KVM_CAP_[A-Z0-9_]*' "$TOP/kvm-agent" | sed s/KVM_CAP_// | sort -u)
[ "$used" = "$("$host/refuse" --capabilities | sort -u)" ] ||
	fail "refuse.c does not know what the agent uses: $used"
for capability in $used; do
	case " $without " in
	*" $capability "*)
		expect 0 on "without=$capability"
		says '^done'
		;;
	*)
		expect 6 on "without=$capability"
		errs "the KVM of this host lacks $capability: use a kernel of 6.1 or later"
		;;
	esac
done
rules=$(printf 'without=%s ' $without)
expect 0 timeout --kill-after=10 300 "$host/refuse" $rules -- "$host/checkpoint" \
	"$BUILD/tests/kvm/continuity.elf" 1 3

# What fails later is no lack of this host's kind, and told as well.
for call in CREATE_IRQCHIP CREATE_PIT2 CREATE_VCPU SET_USER_MEMORY_REGION SET_CPUID2; do
	expect 1 on "$call=ENOMEM"
	errs '^kvm-agent: .*: Cannot allocate memory$'
done
expect 1 on RUN=EIO
errs 'the machine has crashed: vCPU 0: KVM_RUN: Input/output error'

# By vmsnap: a machine that is new leaves nothing, whatever was there by then.
for rule in CREATE_VM=ENOMEM without=PIT2 CREATE_VCPU=ENOMEM; do
	status=6
	[ $rule != CREATE_VCPU=ENOMEM ] || status=1
	expect $status refused $rule -- "$VMSNAP" run web --kernel "$guest" --memory 4M
	errs '^vmsnap: run: (KVM makes no|the KVM of this host lacks PIT2)'
	nothing_is_left
done
disk a.raw 1000000 1
vmsnap init -q
vmsnap backup -q a a.raw
expect 6 refused CREATE_VM=EBUSY -- "$VMSNAP" run web --from a --kernel "$guest" --memory 4M
[ "$(vmsnap list --pins --json | jq '.pins | length')" = 0 ] || fail "a pin is left"
expect 0 vmsnap keeper stop -q
nothing_is_left

# One that ran: it says why it does not run now, and runs again.
expect 0 vmsnap run -q web --kernel "$guest" --memory 4M
expect 0 vmsnap stop -q --force web
for how in '' --foreground; do
	expect 6 refused CREATE_VM=EBUSY -- "$VMSNAP" run web $how </dev/null
	[ -z "$(agents)" ] || fail "an agent is left"
	expect 0 vmsnap ps
	says '^web +stopped .*it did not start: KVM makes no virtual machine: Device or resource busy'
done
expect 0 vmsnap run -q web
expect 0 vmsnap rm -q --force web

# And one that is reset, on a host that refuses it by then.
expect 0 timeout --kill-after=10 300 "$host/reset_refused" "$guest"
