#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Registers, x87 and SSE of ring 3 outlive interrupts.
. "$TOP/tests/kvm/lib.sh"

guest registers
says 'held through 50 ticks and more'
