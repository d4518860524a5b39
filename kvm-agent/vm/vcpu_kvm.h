/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a paused vCPU is, taken out of KVM and put into another one. How it
 * is written down is vcpu_state.h's.
 */
#ifndef KVM_AGENT_VM_VCPU_KVM_H
#define KVM_AGENT_VM_VCPU_KVM_H

#include "kvm-agent/vm/cpuid.h"
#include "kvm-agent/vm/vcpu.h"

#define VCPU_MSRS_MAX  1024u
#define VCPU_XSAVE_MAX (64u * 1024)

struct vcpu_msr {
	uint32_t index;
	uint64_t value;
};

/* Zeroed is empty. */
struct vcpu_image {
	struct kvm_cpuid2 *cpuid; /* room for CPUID_ENTRIES_MAX */
	struct kvm_regs regs;
	struct kvm_sregs2 sregs; /* flags and pdptrs 0 where KVM has none */
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	uint32_t tsc_khz;
	uint32_t msr_count;
	struct vcpu_msr *msrs; /* VCPU_MSRS_MAX of them */
	uint32_t xsave_bytes;
	uint8_t *xsave; /* VCPU_XSAVE_MAX bytes, zero behind xsave_bytes */
};

int vcpu_image_init(struct vcpu_image *image, struct err *err);
/* Wipes what it held. A zeroed one is left alone. */
void vcpu_image_release(struct vcpu_image *image);

/* The MSRs that tell of features, of a vCPU that never ran and is not the
 * host's: IA32_ARCH_CAPABILITIES, and IA32_PERF_CAPABILITIES, which is 0. */
int vcpu_set_features(const struct vcpu *vcpu, uint64_t capabilities,
		      struct err *err);

/* The vCPU is paused. */
int vcpu_image_read(struct vcpu_image *image, const struct vm *vm,
		    const struct vcpu *vcpu, struct err *err);
/* Into a vCPU that never ran. -EOPNOTSUPP: this host can't be that processor,
 * and why. */
int vcpu_image_write(const struct vcpu_image *image, const struct vm *vm,
		     struct vcpu *vcpu, struct err *err);

#endif
