#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What KVM can't go on with (KVM_EXIT_INTERNAL_ERROR) ends the machine, not the
# agent by a signal, and is told: on standard error, in ps, and as an event.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

status=0
agent --kernel "$BUILD/tests/kvm/internal.elf" >"$TMP/out" 2>"$TMP/err" \
	</dev/null || status=$?
[ $status = 1 ] || fail "exit status $status"
says 'here it comes'
errs '^kvm-agent: the machine has crashed: vCPU 0: .*, at rip 0xd2000000$'
[ "$(wc -l <"$TMP/err")" = 1 ] || fail "more than one line: $(cat "$TMP/err")"

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
vmsnap run -q web --kernel "$BUILD/tests/kvm/internal.elf" --memory 16M 2>/dev/null || :
has_crashed() { vmsnap ps | grep -Eq '^web +crashed .*vCPU 0: .*rip 0xd2000000'; }
until_true has_crashed
until_true [ -z "$(agents)" ]
expect 0 vmsnap rm -q web
