#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All RAM holds what is written to it, on both sides of the hole.
. "$TOP/tests/kvm/lib.sh"

guest memory --memory 64M
says '0x3e[0-9a-f]+ bytes behind 0x1[0-9a-f]+'
guest memory --memory 3200M --append sparse
says '0xc7e[0-9a-f]+ bytes behind 0x1[0-9a-f]+'
