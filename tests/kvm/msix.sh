#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# MSI-X tables with nonsense (msix.c): the guest comes to its end. One that sends
# itself an INIT or an SMI may be lost, and its agent not: it answers, and tells
# how that ended.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

guest msix --memory 64M
for what in 'messages that can' 'an NMI' 'writes of all sizes' masks races; do
	grep -q "$what" out || fail "the guest did not try $what: $(cat out)"
done

export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT
log_has() { grep -q "$2" "home/machines/$1/console.log"; }
for last in init smi; do
	expect 0 vmsnap run -q $last --kernel "$BUILD/tests/kvm/msix.elf" --memory 64M \
		--append $last
	until_true log_has $last '^the last'
	for verb in pause resume; do
		vmsnap $verb $last >ask 2>&1 || grep -q 'not running' ask || fail "$(cat ask)"
	done
	vmsnap stop -q --force $last 2>ask || grep -q 'not running' ask || fail "$(cat ask)"
	expect 0 vmsnap ps
	says "^$last +(stopped .*turned off by a client|crashed .*vCPU 0: )"
	until_true [ -z "$(agents)" ]
	expect 0 vmsnap rm -q $last
done
