/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's image as a section `vcpu` of the state, spec/state.md. */
#ifndef KVM_AGENT_VM_VCPU_STATE_H
#define KVM_AGENT_VM_VCPU_STATE_H

#include "kvm-agent/state/section.h"
#include "kvm-agent/vm/vcpu_kvm.h"

#define VCPU_SECTION "vcpu"

void vcpu_state_put(struct vcpu_image *image, unsigned index,
		    struct state_writer *out);
/* Hostile bytes, into an image that was initialized. -EBADMSG, -ENOENT. */
int vcpu_state_get(struct vcpu_image *image, unsigned index,
		   const struct state *state, struct err *err);

#endif
