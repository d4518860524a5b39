/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID of the guest. The host's leaves come from KVM and are trusted; what is
 * changed here is what depends on this machine: ids, topology (one package,
 * one thread a core), no performance counters (their state is no part of a
 * checkpoint), the TSC deadline timer, which KVM reports elsewhere.
 *
 * A baseline is a list of what is let through: a feature that is not on it is
 * not there for the guest, however new the host is.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-agent/vm/cpuid.h"
#include "kvm-agent/vm/layout.h"

#define LEAF_BASIC        0x0u
#define LEAF_FEATURES     0x1u
#define LEAF_CACHES       0x4u
#define LEAF_EXTENDED     0x7u
#define LEAF_COUNTERS     0xau
#define LEAF_TOPOLOGY     0xbu
#define LEAF_XSAVE        0xdu
#define LEAF_TOPOLOGY_V2  0x1fu
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_AMD_BASIC    0x80000000u
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_L1       0x80000005u
#define LEAF_AMD_POWER    0x80000007u
#define LEAF_AMD_SIZES    0x80000008u
#define LEAF_AMD_NESTED   0x8000000au
#define LEAF_AMD_CACHES   0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define LEAF_AMD_EXTENDED 0x80000021u

#define MSR_CAPABILITIES  0x10au
#define XSAVE_LEGACY      576u /* x87, SSE and the header */

#define BIT(n)            (1u << (n))

/* Leaf 1, ECX and EDX. */
#define F1C_VMX          BIT(5)
#define F1C_SMX          BIT(6)
#define F1C_X2APIC       BIT(21)
#define F1C_TSC_DEADLINE BIT(24)
#define F1C_HYPERVISOR   BIT(31)
#define F1D_MULTIPLE     BIT(28)

#define EAX              CPUID_EAX
#define EBX              CPUID_EBX
#define ECX              CPUID_ECX
#define EDX              CPUID_EDX

/* ---- names ---- */

static const char *const names[] = {
	[CPU_HOST] = "host",
	[CPU_X86_64_V2] = "x86-64-v2",
	[CPU_X86_64_V3] = "x86-64-v3",
	[CPU_FILE] = "the file of --cpu",
};

const char *cpu_model_name(enum cpu_model model)
{
	return names[model];
}

bool cpu_model_parse(const char *name, enum cpu_model *out)
{
	for (unsigned i = 0; i < CPU_FILE; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum cpu_model)i;
			return true;
		}
	}
	return false;
}

/* ---- entries ---- */

int cpuid_of_host(const struct vm *vm, struct kvm_cpuid2 **out, struct err *err)
{
	autofree struct kvm_cpuid2 *cpuid = NULL;
	int r;

	r = alloc_array(&cpuid, 1,
			sizeof(*cpuid) +
				CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]),
			err);
	if (r < 0)
		return r;
	cpuid->nent = CPUID_ENTRIES_MAX - 8; /* some are added below */
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return err_sys(err, -errno, "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == LEAF_FEATURES &&
		    vm_capability(vm, KVM_CAP_TSC_DEADLINE_TIMER))
			entry->ecx |= F1C_TSC_DEADLINE;
	}
	*out = ptr_steal(&cpuid);
	return 0;
}

uint64_t cpu_capabilities_of_host(const struct vm *vm)
{
	union {
		struct kvm_msrs head;
		uint8_t room[sizeof(struct kvm_msrs) +
			     sizeof(struct kvm_msr_entry)];
	} buffer = { .head.nmsrs = 1 };

	buffer.head.entries[0] =
		(struct kvm_msr_entry){ .index = MSR_CAPABILITIES };
	return ioctl(vm->kvm_fd, KVM_GET_MSRS, &buffer) == 1
		       ? buffer.head.entries[0].data
		       : 0;
}

static struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *cpuid,
				     uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == function && entry->index == index)
			return (struct kvm_cpuid_entry2 *)entry;
	}
	return NULL;
}

static void drop(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != function)
			cpuid->entries[kept++] = cpuid->entries[i];
	}
	cpuid->nent = kept;
}

static void add(struct kvm_cpuid2 *cpuid, struct kvm_cpuid_entry2 entry)
{
	if (cpuid->nent < CPUID_ENTRIES_MAX)
		cpuid->entries[cpuid->nent++] = entry;
}

static uint32_t *word_of(struct kvm_cpuid_entry2 *entry,
			 enum cpuid_register word)
{
	switch (word) {
	case EAX:
		return &entry->eax;
	case EBX:
		return &entry->ebx;
	case ECX:
		return &entry->ecx;
	case EDX:
		return &entry->edx;
	}
	return NULL;
}

static bool is_amd(struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *basic = find(cpuid, LEAF_BASIC, 0);

	/* "Auth", and Hygon's "Hygo". */
	return basic && (basic->ebx == 0x68747541 || basic->ebx == 0x6f677948);
}

/* ---- baselines ---- */

/*
 * Features of one word: what the level is defined by (the x86-64 psABI), and
 * what may be there besides: what a kernel or a hypervisor makes use of and
 * what any host with KVM has.
 */
struct mask {
	uint32_t leaf;
	uint32_t index;
	enum cpuid_register word;
	uint32_t v2, v3; /* must be there */
	uint32_t also_v2, also_v3;
};

/* SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT */
#define V2_1C (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
/* and FMA, MOVBE, XSAVE, OSXSAVE (the guest's own), AVX, F16C */
#define V3_1C (V2_1C | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))
/* x2APIC, TSC deadline, hypervisor */
#define ALSO_1C (F1C_X2APIC | F1C_TSC_DEADLINE | F1C_HYPERVISOR)
/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36
 * CLFLUSH MMX FXSR SSE SSE2 */
#define V2_1D                                                            \
	(BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(15) | \
	 BIT(23) | BIT(24) | BIT(25) | BIT(26))
#define ALSO_1D (0x078bfbffu)
/* BMI1, AVX2, BMI2 */
#define V3_7B (BIT(3) | BIT(5) | BIT(8))
/* SMEP, ERMS; INVPCID stays out: it needs PCID, which v2 has not */
#define ALSO_7B (BIT(7) | BIT(9))
/* LAHF in long mode; LZCNT */
#define V2_AMDC BIT(0)
#define V3_AMDC (V2_AMDC | BIT(5))
/* SYSCALL, LM; NX, 1 GiB pages, RDTSCP, and the copies of leaf 1 on AMD */
#define V2_AMDD   (BIT(11) | BIT(29))
#define ALSO_AMDD (0x0183f3ffu | BIT(20) | BIT(26) | BIT(27))

static const struct mask masks[] = {
	{ LEAF_FEATURES, 0, ECX, V2_1C, V3_1C, ALSO_1C, ALSO_1C | BIT(27) },
	{ LEAF_FEATURES, 0, EDX, V2_1D, V2_1D, ALSO_1D, ALSO_1D },
	{ LEAF_EXTENDED, 0, EBX, 0, V3_7B, ALSO_7B, ALSO_7B },
	{ LEAF_EXTENDED, 0, ECX, 0, 0, 0, 0 },
	/* MD_CLEAR, IBRS, STIBP, SSBD. */
	{ LEAF_EXTENDED, 0, EDX, 0, 0, 0x8c000400, 0x8c000400 },
	{ LEAF_XSAVE, 0, EAX, 0, 7, 0, 7 },
	{ LEAF_XSAVE, 0, EDX, 0, 0, 0, 0 },
	{ LEAF_XSAVE, 1, EAX, 0, 0, 0, 1 },
	{ LEAF_XSAVE, 1, ECX, 0, 0, 0, 0 },
	{ LEAF_XSAVE, 1, EDX, 0, 0, 0, 0 },
	{ LEAF_AMD_FEATURES, 0, ECX, V2_AMDC, V3_AMDC, 0, 0 },
	{ LEAF_AMD_FEATURES, 0, EDX, V2_AMDD, V2_AMDD, ALSO_AMDD, ALSO_AMDD },
	/* What KVM of Linux 6.1 has: clocks, steal time, async page faults,
	 * TLB flushes and IPIs by it. */
	{ LEAF_KVM_FEATURES, 0, EAX, 0, 0, 0x01007efb, 0x01007efb },
	/* Invariant TSC. */
	{ LEAF_AMD_POWER, 0, EDX, 0, 0, BIT(8), BIT(8) },
	/* IBPB, IBRS, STIBP, SSBD. */
	{ LEAF_AMD_SIZES, 0, EBX, 0, 0, 0x0100d000, 0x0100d000 },
};

/* The host's and the guest's word; how the lacking one is named. */
static int lacks(const struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t index,
		 enum cpuid_register word, uint32_t needed, const char *who,
		 struct err *err)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, leaf, index);
	uint32_t lacking = needed & ~(entry ? *word_of(entry, word) : 0);
	const char *name;
	unsigned bit;

	if (!lacking)
		return 0;
	bit = (unsigned)__builtin_ctz(lacking);
	name = cpuid_feature_name(leaf, index, word, bit);
	return err_set(err, -EOPNOTSUPP,
		       "this host gives no guest %s (CPUID 0x%x.%u, word %u, "
		       "bit %u), which %s has: use another --cpu",
		       name ? name : "a feature", leaf, index, word, bit, who);
}

static int apply_mask(struct kvm_cpuid2 *cpuid, const struct mask *mask,
		      enum cpu_model model, struct err *err)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, mask->leaf, mask->index);
	uint32_t needed = model == CPU_X86_64_V2 ? mask->v2 : mask->v3;
	uint32_t also = model == CPU_X86_64_V2 ? mask->also_v2 : mask->also_v3;
	int r = lacks(cpuid, mask->leaf, mask->index, mask->word, needed,
		      cpu_model_name(model), err);

	if (r == 0 && entry)
		*word_of(entry, mask->word) &= needed | also;
	return r;
}

/* The parts of the state that are left, and the space that they take. */
static void set_xsave_parts(struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *all = find(cpuid, LEAF_XSAVE, 0);
	struct kvm_cpuid_entry2 *more = find(cpuid, LEAF_XSAVE, 1);
	uint64_t parts, supervisor = 0;
	uint32_t size = XSAVE_LEGACY, kept = 0;

	if (!all)
		return;
	parts = all->eax | (uint64_t)all->edx << 32;
	if (more)
		supervisor = more->ecx | (uint64_t)more->edx << 32;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 entry = cpuid->entries[i];

		if (entry.function == LEAF_XSAVE && entry.index >= 2) {
			if (entry.index > 63 ||
			    !((parts | supervisor) >> entry.index & 1))
				continue;
			if (parts >> entry.index & 1)
				size = (uint32_t)max_u64(size,
							 entry.ebx + entry.eax);
		}
		cpuid->entries[kept++] = entry;
	}
	cpuid->nent = kept;
	all = find(cpuid, LEAF_XSAVE, 0);
	all->ebx = all->ecx = parts ? size : 0;
}

/* No leaf past those of the first processors of this level, and no parts of
 * leaf 7 that are younger; a list of one's own says itself what it has. */
static void cut_leaves(struct kvm_cpuid2 *cpuid, bool listed)
{
	struct kvm_cpuid_entry2 *basic = find(cpuid, LEAF_BASIC, 0);
	struct kvm_cpuid_entry2 *amd = find(cpuid, LEAF_AMD_BASIC, 0);
	uint32_t last = listed ? LEAF_AMD_EXTENDED : LEAF_AMD_SIZES;
	uint32_t kept = 0;

	if (basic && basic->eax > LEAF_XSAVE)
		basic->eax = LEAF_XSAVE;
	if (amd && amd->eax > last)
		amd->eax = last;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 entry = cpuid->entries[i];

		if ((entry.function > LEAF_XSAVE &&
		     entry.function < 0x40000000) ||
		    entry.function > last)
			continue;
		if (entry.function == LEAF_EXTENDED && !listed) {
			if (entry.index)
				continue;
			entry.eax = 0;
		}
		cpuid->entries[kept++] = entry;
	}
	cpuid->nent = kept;
	set_xsave_parts(cpuid);
}

/* One name and one number for all processors of a model. */
static void set_identity(struct kvm_cpuid2 *cpuid, uint32_t signature,
			 const char *name)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, LEAF_FEATURES, 0);
	char brand[48] = "";

	if (entry)
		entry->eax = signature;
	strncpy(brand, name, sizeof(brand) - 1);
	for (uint32_t i = 0; i < 3; i++) {
		entry = find(cpuid, 0x80000002u + i, 0);
		if (!entry)
			continue;
		memcpy(&entry->eax, brand + 16 * i, 4);
		memcpy(&entry->ebx, brand + 16 * i + 4, 4);
		memcpy(&entry->ecx, brand + 16 * i + 8, 4);
		memcpy(&entry->edx, brand + 16 * i + 12, 4);
	}
}

/* AMD: Bulldozer's second generation, and Excavator; else Nehalem and Haswell:
 * the first of their levels. */
static uint32_t signature_of(struct kvm_cpuid2 *cpuid, bool v3)
{
	if (is_amd(cpuid))
		return v3 ? 0x00660f01 : 0x00600f20;
	return v3 ? 0x000306c3 : 0x000106a5;
}

static int apply_level(struct kvm_cpuid2 *cpuid, enum cpu_model model,
		       struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		int r = apply_mask(cpuid, &masks[i], model, err);

		if (r < 0)
			return r;
	}
	cut_leaves(cpuid, false);
	set_identity(cpuid, signature_of(cpuid, model == CPU_X86_64_V3),
		     cpu_model_name(model));
	return 0;
}

/* ---- topology ---- */

/* Bits of an APIC id that tell the processors of a package apart. */
static unsigned id_bits(unsigned cpus)
{
	unsigned bits = 0;

	while ((1u << bits) < cpus)
		bits++;
	return bits;
}

/* One package of `cpus` cores of one thread; the last cache is shared. */
static void set_caches(struct kvm_cpuid_entry2 *entry, unsigned cpus)
{
	unsigned type = entry->eax & 0x1f, level = entry->eax >> 5 & 7;
	uint32_t sharing = level >= 3 ? (1u << id_bits(cpus)) - 1 : 0;

	if (!type)
		return;
	entry->eax = (entry->eax & 0x3fff) | sharing << 14;
	if (entry->function == LEAF_CACHES)
		entry->eax |= ((1u << id_bits(cpus)) - 1) << 26;
}

static void add_topology(struct kvm_cpuid2 *cpuid, unsigned cpus)
{
	drop(cpuid, LEAF_TOPOLOGY);
	drop(cpuid, LEAF_TOPOLOGY_V2);
	/* Threads of a core: one. Then cores of the package. */
	add(cpuid,
	    (struct kvm_cpuid_entry2){ .function = LEAF_TOPOLOGY,
				       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
				       .ebx = 1,
				       .ecx = 1 << 8 });
	add(cpuid,
	    (struct kvm_cpuid_entry2){ .function = LEAF_TOPOLOGY,
				       .index = 1,
				       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
				       .eax = id_bits(cpus),
				       .ebx = cpus,
				       .ecx = 2 << 8 | 1 });
}

static void set_leaf(struct kvm_cpuid_entry2 *entry, unsigned cpus, bool amd)
{
	switch (entry->function) {
	case LEAF_FEATURES:
		/* What is nested can't be saved. */
		entry->ecx &= ~(F1C_VMX | F1C_SMX);
		entry->ecx |= F1C_HYPERVISOR;
		entry->edx &= ~F1D_MULTIPLE;
		if (cpus > 1)
			entry->edx |= F1D_MULTIPLE;
		break;
	case LEAF_AMD_L1:
		/* KVM before Linux 6.2 tells of none, and Linux on Bulldozer's
		 * family divides by their ways: 32 KiB each, 8 ways, lines of
		 * 64; 64 entries of TLB. */
		if (amd && (!entry->ecx || !entry->edx)) {
			entry->eax = entry->ebx = 0xff40ff40;
			entry->ecx = entry->edx = 0x20080140;
		}
		break;
	case LEAF_COUNTERS:
	case LEAF_AMD_NESTED:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case LEAF_CACHES:
	case LEAF_AMD_CACHES:
		set_caches(entry, cpus);
		break;
	case LEAF_AMD_FEATURES:
		/* CMP_LEGACY, on AMD; SVM and SKINIT; counters of the core, of
		 * the bridge. */
		entry->ecx &= ~(BIT(1) | BIT(2) | BIT(12) | BIT(23) | BIT(24));
		if (amd && cpus > 1)
			entry->ecx |= BIT(1);
		break;
	case LEAF_AMD_SIZES:
		if (amd)
			entry->ecx = id_bits(cpus) << 12 | (cpus - 1);
		break;
	default:
		break;
	}
}

static int check_cpus(unsigned cpus, struct err *err)
{
	if (!cpus || cpus > LAYOUT_CPUS_MAX)
		return err_set(err, -EINVAL, "%u CPUs: it must be 1 to %u",
			       cpus, LAYOUT_CPUS_MAX);
	return 0;
}

static void set_leaves(struct kvm_cpuid2 *cpuid, unsigned cpus)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		set_leaf(&cpuid->entries[i], cpus, is_amd(cpuid));
	add_topology(cpuid, cpus);
}

int cpuid_apply_model(struct kvm_cpuid2 *cpuid, enum cpu_model model,
		      unsigned cpus, struct err *err)
{
	int r = check_cpus(cpus, err);

	if (r == 0 && model != CPU_HOST)
		r = apply_level(cpuid, model, err);
	if (r == 0)
		set_leaves(cpuid, cpus);
	return r;
}

static int check_vendor(const struct kvm_cpuid2 *cpuid,
			const struct cpu_baseline *baseline, struct err *err)
{
	struct cpu_baseline host;

	cpu_baseline_of(cpuid, 0, &host);
	if (!strcmp(host.vendor, baseline->vendor))
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "this host's processor is of %s, and that of --cpu of "
		       "%s",
		       host.vendor, baseline->vendor);
}

static int check_capabilities(uint64_t host,
			      const struct cpu_baseline *baseline,
			      struct err *err)
{
	uint64_t lacking =
		baseline->capabilities & ~host & ~CPU_CAPABILITIES_WEAK;
	uint64_t hidden =
		host & ~baseline->capabilities & CPU_CAPABILITIES_WEAK;
	unsigned bit = (unsigned)__builtin_ctzll(lacking | hidden | 1ull << 63);
	const char *name = cpu_capability_name(bit);

	if (lacking)
		return err_set(err, -EOPNOTSUPP,
			       "this host gives no guest %s (MSR 0x10a, bit "
			       "%u), which the file of --cpu has",
			       name ? name : "a feature", bit);
	if (hidden)
		return err_set(err, -EOPNOTSUPP,
			       "this host has the weakness %s, which the file "
			       "of --cpu hides: add 'msr 0000010a %u' to it",
			       name, bit);
	return 0;
}

int cpuid_apply_baseline(struct kvm_cpuid2 *cpuid, uint64_t capabilities,
			 const struct cpu_baseline *baseline, unsigned cpus,
			 struct err *err)
{
	int r = check_cpus(cpus, err);

	if (r == 0)
		r = check_vendor(cpuid, baseline, err);
	if (r == 0)
		r = check_capabilities(capabilities, baseline, err);
	for (unsigned i = 0; r == 0 && i < CPUID_WORDS; i++) {
		const struct cpuid_word *word = &cpuid_words[i];
		struct kvm_cpuid_entry2 *entry =
			find(cpuid, word->leaf, word->index);

		r = lacks(cpuid, word->leaf, word->index, word->word,
			  baseline->words[i] & ~word->ours,
			  cpu_model_name(CPU_FILE), err);
		if (r == 0 && entry)
			*word_of(entry, word->word) &=
				baseline->words[i] | word->ours;
	}
	if (r < 0)
		return r;
	cut_leaves(cpuid, true);
	set_identity(cpuid,
		     baseline->signature ? baseline->signature
					 : signature_of(cpuid, false),
		     "vmsnap CPU");
	set_leaves(cpuid, cpus);
	return 0;
}

void cpuid_set_processor(struct kvm_cpuid2 *cpuid, unsigned index,
			 unsigned cpus)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		switch (entry->function) {
		case LEAF_FEATURES:
			entry->ebx = (entry->ebx & 0xffff) |
				     1u << (id_bits(cpus) + 16) | index << 24;
			break;
		case LEAF_TOPOLOGY:
			entry->edx = index;
			break;
		case LEAF_AMD_TOPOLOGY:
			entry->eax = index;
			entry->ebx = index; /* the core's id; one thread */
			entry->ecx = 0;
			break;
		default:
			break;
		}
	}
}

/* ---- another host ---- */

int cpuid_check_host(const struct kvm_cpuid2 *cpuid,
		     const struct kvm_cpuid2 *host, struct err *err)
{
	for (size_t i = 0; i < CPUID_WORDS; i++) {
		const struct cpuid_word *word = &cpuid_words[i];
		struct kvm_cpuid_entry2 *saved =
			find(cpuid, word->leaf, word->index);
		struct kvm_cpuid_entry2 *here =
			find(host, word->leaf, word->index);
		const char *name;
		uint32_t lacking;
		unsigned bit;

		if (!saved)
			continue;
		lacking = *word_of(saved, word->word) & ~word->ours;
		if (here)
			lacking &= ~*word_of(here, word->word);
		if (!lacking)
			continue;
		bit = (unsigned)__builtin_ctz(lacking);
		name = cpuid_feature_name(word->leaf, word->index, word->word,
					  bit);
		return err_set(err, -EOPNOTSUPP,
			       "the machine has %s (CPUID 0x%x.%u, word %u, "
			       "bit %u), and this host's processor or KVM has "
			       "not: restore it on a host that has",
			       name ? name : "a feature", word->leaf,
			       word->index, word->word, bit);
	}
	return 0;
}
