#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A processor that sleeps is woken: PIT and IOAPIC, LAPIC, itself.
. "$TOP/tests/kvm/lib.sh"

guest timers
says 'pit: woke'
says 'lapic, periodic: woke'
says 'lapic, once: woke'
says 'lapic, deadline: (woke|none here)'
says 'itself: woke'
