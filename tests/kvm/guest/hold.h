/* SPDX-License-Identifier: Apache-2.0 */
/* A processor's state, filled and looked at again, in ring 3. */
#ifndef TESTS_KVM_GUEST_HOLD_H
#define TESTS_KVM_GUEST_HOLD_H

#include <stdint.h>

/*
 * For run_user(): fills the general registers, x87 and SSE with values of
 * their own, spins for `count` rounds, and looks. 0: all is as it was; else
 * bit 0 general registers, bit 1 SSE, bit 2 MXCSR, bit 3 x87, bit 4 its
 * control word.
 */
uint64_t hold_registers(uint64_t count);

#endif
