#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guests that know no rules (storm.c), on this host's KVM: the agent lives, its
# sockets answer meanwhile, and how it ends is told. One that leaves out what ends
# the machine comes to its own end, with a device that still works; the other one
# has another seed each time. They are printed: STORM_SEEDS="7 9" plays these,
# STORM_ROUNDS=100000 for longer.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"
. "$TOP/tests/kvm/lib_storm.sh"

trap 'vmsnap rm -q --force --all 2>/dev/null || :' EXIT

for seed in ${STORM_SEEDS:-1 2}; do
	start "calm$seed" "$seed"
	ask_all "calm$seed"
	ends_calm "calm$seed"
	expect 0 vmsnap rm --all
done
for seed in ${STORM_SEEDS:-$RANDOM$RANDOM $RANDOM$RANDOM}; do
	start "wild$seed" "$seed wild"
	ask_all "wild$seed"
	ends_wild "wild$seed"
	expect 0 vmsnap rm --all
done
