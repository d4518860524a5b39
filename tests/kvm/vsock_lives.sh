#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vsock over restores: both sides are told that their connections are gone, and
# new ones come about.
. "$TOP/tests/kvm/lib.sh"

timeout --kill-after=10 300 "$BUILD/tests/kvm/host/vsock_lives" \
	"$BUILD/tests/kvm/vsock.elf" 5
