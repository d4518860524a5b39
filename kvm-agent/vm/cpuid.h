/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest's processors say of themselves: what KVM of this host can give,
 * or a baseline out of it, so that a machine can move between processors.
 */
#ifndef KVM_AGENT_VM_CPUID_H
#define KVM_AGENT_VM_CPUID_H

#include <linux/kvm.h>

#include "kvm-agent/vm/vm.h"

enum cpu_model {
	CPU_HOST,
	CPU_X86_64_V2,
	CPU_X86_64_V3,
};

#define CPU_MODELS "host, x86-64-v2 or x86-64-v3"
const char *cpu_model_name(enum cpu_model model);
/* -EINVAL: no such name. */
int cpu_model_parse(const char *name, enum cpu_model *out, struct err *err);

#define CPUID_ENTRIES_MAX 256u

/* Room for CPUID_ENTRIES_MAX; from calloc(). */
struct kvm_cpuid2;

/* What KVM supports on this host, unchanged. The caller frees it. */
int cpuid_of_host(const struct vm *vm, struct kvm_cpuid2 **out,
		  struct err *err);

/*
 * Makes `cpuid`, a host's, that of a model on a machine of `cpus` processors.
 * -EOPNOTSUPP: the host lacks a feature of the baseline, which is named. Pure.
 */
int cpuid_apply_model(struct kvm_cpuid2 *cpuid, enum cpu_model model,
		      unsigned cpus, struct err *err);
/* -EOPNOTSUPP: a guest that has `cpuid` would miss a feature on this host,
 * which is named. Pure. */
int cpuid_check_host(const struct kvm_cpuid2 *cpuid,
		     const struct kvm_cpuid2 *host, struct err *err);
/* What differs from one processor to the next: ids. Pure. */
void cpuid_set_processor(struct kvm_cpuid2 *cpuid, unsigned index,
			 unsigned cpus);

#endif
