/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What KVM itself keeps of the board: PICs, IOAPIC, PIT, clock; sections `pic`,
 * `ioapic`, `pit` and `clock` of the state, spec/state.md. No vCPU runs.
 */
#ifndef KVM_AGENT_VM_VM_STATE_H
#define KVM_AGENT_VM_VM_STATE_H

#include "kvm-agent/state/section.h"
#include "kvm-agent/vm/vm.h"

#define VM_STATE_SECTIONS 5u

int vm_state_save(const struct vm *vm, struct state_writer *out,
		  struct err *err);
/* Behind the vCPUs, whose LAPICs an IOAPIC may interrupt at once. */
int vm_state_restore(const struct vm *vm, const struct state *state,
		     struct err *err);

#endif
