#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A triple fault ends the machine, not the agent by a signal, and is told.
. "$TOP/tests/kvm/lib.sh"

status=0
agent --kernel "$BUILD/tests/kvm/triple.elf" >"$TMP/out" 2>"$TMP/err" \
	</dev/null || status=$?
[ $status = 1 ] || fail "exit status $status"
says 'here it comes'
errs '^kvm-agent: the machine has crashed: vCPU 0: triple fault, at rip 0x'
[ "$(wc -l <"$TMP/err")" = 1 ] || fail "more than one line: $(cat "$TMP/err")"
