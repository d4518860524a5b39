#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clock, ACPI, generation ID; two resets, and power off: the agent ends well.
. "$TOP/tests/kvm/lib.sh"

before=$(date -u +%-y-%-m-%-d)
guest board --memory 64M
after=$(date -u +%-y-%-m-%-d)
says 'boot 0'
says 'boot 1'
says 'boot 2'
[ "$(grep -c boot "$TMP/out")" = 3 ] || fail "more than three boots"
# The registers are BCD, and %x shows them as they are.
date=$(sed -n 's/^date //p' "$TMP/out")
[ "$date" = "$before" ] || [ "$date" = "$after" ] ||
	fail "the clock shows $date, and not $before"
errs 'has panicked'
