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
	CPU_FILE, /* a struct cpu_baseline */
};

const char *cpu_model_name(enum cpu_model model);
/* false: no such name. */
bool cpu_model_parse(const char *name, enum cpu_model *out);

/* ---- features ---- */

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* A word of features, and the bits in it that are not the host's to give. */
#define CPUID_WORDS 19u
extern const struct cpuid_word {
	uint32_t leaf, index;
	enum cpuid_register word;
	uint32_t ours;
} cpuid_words[CPUID_WORDS];

/* NULL: it has no name here. */
const char *cpuid_feature_name(uint32_t leaf, uint32_t index,
			       enum cpuid_register word, unsigned bit);
/* Of a bit of IA32_ARCH_CAPABILITIES, the same. */
const char *cpu_capability_name(unsigned bit);
/* Bits of it that tell of a weakness: RSBA, RRSBA. */
#define CPU_CAPABILITIES_WEAK (1ull << 2 | 1ull << 19)

/* spec/cpu.md; in cpu_file.c. */
struct cpu_baseline {
	char vendor[13];
	uint32_t signature;          /* leaf 1, EAX; 0: none is set */
	uint32_t words[CPUID_WORDS]; /* as cpuid_words */
	uint64_t capabilities;       /* IA32_ARCH_CAPABILITIES */
};
#define CPU_FILE_MAX (64u * 1024)
/* -EINVAL, -EOPNOTSUPP: another version. Pure. */
int cpu_baseline_parse(const char *text, size_t size, struct cpu_baseline *out,
		       struct err *err);
/* What `cpuid` and the MSR have. Pure. */
void cpu_baseline_of(const struct kvm_cpuid2 *cpuid, uint64_t capabilities,
		     struct cpu_baseline *out);
/* As text, to free(). -ENOMEM. */
int cpu_baseline_print(const struct cpu_baseline *baseline, char **out,
		       struct err *err);

#define CPUID_ENTRIES_MAX 256u

/* What KVM supports on this host, unchanged. The caller frees it. */
int cpuid_of_host(const struct vm *vm, struct kvm_cpuid2 **out,
		  struct err *err);
/* IA32_ARCH_CAPABILITIES that it supports; 0 where there is none. */
uint64_t cpu_capabilities_of_host(const struct vm *vm);

/*
 * Makes `cpuid`, a host's, that of a model on a machine of `cpus` processors.
 * -EOPNOTSUPP: the host lacks a feature of the baseline, which is named. Pure.
 */
int cpuid_apply_model(struct kvm_cpuid2 *cpuid, enum cpu_model model,
		      unsigned cpus, struct err *err);
/* The same with a list of one's own, on a host with such capabilities. */
int cpuid_apply_baseline(struct kvm_cpuid2 *cpuid, uint64_t capabilities,
			 const struct cpu_baseline *baseline, unsigned cpus,
			 struct err *err);
/* -EOPNOTSUPP: a guest that has `cpuid` would miss a feature on this host,
 * which is named. Pure. */
int cpuid_check_host(const struct kvm_cpuid2 *cpuid,
		     const struct kvm_cpuid2 *host, struct err *err);
/* What differs from one processor to the next: ids. Pure. */
void cpuid_set_processor(struct kvm_cpuid2 *cpuid, unsigned index,
			 unsigned cpus);

#endif
