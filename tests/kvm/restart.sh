#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest that asks for a reset, and does not wait for it.
. "$TOP/tests/kvm/lib.sh"

timeout --kill-after=10 300 "$BUILD/tests/kvm/host/restart" "$BUILD/tests/kvm/restart.elf"
