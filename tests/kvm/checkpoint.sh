#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest that proves its continuity goes through many lives: paused, saved,
# restored into a fresh VM. And restore(save(x)) is x.
. "$TOP/tests/kvm/lib.sh"

"$BUILD/tests/kvm/host/vcpu"
for cpus in 1 2; do
	timeout --kill-after=10 600 "$BUILD/tests/kvm/host/checkpoint" \
		"$BUILD/tests/kvm/continuity.elf" $cpus 20
done
