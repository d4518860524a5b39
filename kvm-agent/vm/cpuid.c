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
#define LEAF_AMD_POWER    0x80000007u
#define LEAF_AMD_SIZES    0x80000008u
#define LEAF_AMD_CACHES   0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu

#define BIT(n)            (1u << (n))

/* Leaf 1, ECX and EDX. */
#define F1C_X2APIC       BIT(21)
#define F1C_TSC_DEADLINE BIT(24)
#define F1C_HYPERVISOR   BIT(31)
#define F1D_MULTIPLE     BIT(28)

enum word { EAX, EBX, ECX, EDX };

/* ---- names ---- */

static const char *const names[] = {
	[CPU_HOST] = "host",
	[CPU_X86_64_V2] = "x86-64-v2",
	[CPU_X86_64_V3] = "x86-64-v3",
};

const char *cpu_model_name(enum cpu_model model)
{
	return names[model];
}

int cpu_model_parse(const char *name, enum cpu_model *out, struct err *err)
{
	char quoted[64];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum cpu_model)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "no CPU is called '%s': it is " CPU_MODELS,
		       escape_name(quoted, sizeof(quoted), name));
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

static uint32_t *word_of(struct kvm_cpuid_entry2 *entry, enum word word)
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
	enum word word;
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
	/* Invariant TSC. */
	{ LEAF_AMD_POWER, 0, EDX, 0, 0, BIT(8), BIT(8) },
	/* IBPB, IBRS, STIBP, SSBD. */
	{ LEAF_AMD_SIZES, 0, EBX, 0, 0, 0x0100d000, 0x0100d000 },
};

/* How the bits of a level are called, for the message. */
static const struct {
	uint32_t leaf;
	enum word word;
	unsigned bit;
	const char *name;
} features[] = {
	{ LEAF_FEATURES, ECX, 0, "SSE3" },
	{ LEAF_FEATURES, ECX, 9, "SSSE3" },
	{ LEAF_FEATURES, ECX, 12, "FMA" },
	{ LEAF_FEATURES, ECX, 13, "CMPXCHG16B" },
	{ LEAF_FEATURES, ECX, 19, "SSE4.1" },
	{ LEAF_FEATURES, ECX, 20, "SSE4.2" },
	{ LEAF_FEATURES, ECX, 22, "MOVBE" },
	{ LEAF_FEATURES, ECX, 23, "POPCNT" },
	{ LEAF_FEATURES, ECX, 26, "XSAVE" },
	{ LEAF_FEATURES, ECX, 28, "AVX" },
	{ LEAF_FEATURES, ECX, 29, "F16C" },
	{ LEAF_FEATURES, EDX, 0, "FPU" },
	{ LEAF_FEATURES, EDX, 4, "TSC" },
	{ LEAF_FEATURES, EDX, 5, "MSR" },
	{ LEAF_FEATURES, EDX, 6, "PAE" },
	{ LEAF_FEATURES, EDX, 8, "CX8" },
	{ LEAF_FEATURES, EDX, 9, "APIC" },
	{ LEAF_FEATURES, EDX, 15, "CMOV" },
	{ LEAF_FEATURES, EDX, 23, "MMX" },
	{ LEAF_FEATURES, EDX, 24, "FXSR" },
	{ LEAF_FEATURES, EDX, 25, "SSE" },
	{ LEAF_FEATURES, EDX, 26, "SSE2" },
	{ LEAF_EXTENDED, EBX, 3, "BMI1" },
	{ LEAF_EXTENDED, EBX, 5, "AVX2" },
	{ LEAF_EXTENDED, EBX, 8, "BMI2" },
	{ LEAF_XSAVE, EAX, 0, "XSAVE of x87" },
	{ LEAF_XSAVE, EAX, 1, "XSAVE of SSE" },
	{ LEAF_XSAVE, EAX, 2, "XSAVE of AVX" },
	{ LEAF_AMD_FEATURES, ECX, 0, "LAHF" },
	{ LEAF_AMD_FEATURES, ECX, 5, "LZCNT" },
	{ LEAF_AMD_FEATURES, EDX, 11, "SYSCALL" },
	{ LEAF_AMD_FEATURES, EDX, 29, "64-bit mode" },
};

static const char *feature_name(uint32_t leaf, enum word word, unsigned bit)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].leaf == leaf && features[i].word == word &&
		    features[i].bit == bit)
			return features[i].name;
	}
	return "a feature";
}

static int apply_mask(struct kvm_cpuid2 *cpuid, const struct mask *mask,
		      enum cpu_model model, struct err *err)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, mask->leaf, mask->index);
	uint32_t needed = model == CPU_X86_64_V2 ? mask->v2 : mask->v3;
	uint32_t also = model == CPU_X86_64_V2 ? mask->also_v2 : mask->also_v3;
	uint32_t *word = entry ? word_of(entry, mask->word) : NULL;
	uint32_t lacking = needed & ~(word ? *word : 0);
	unsigned bit;

	if (lacking) {
		bit = (unsigned)__builtin_ctz(lacking);
		return err_set(err, -EOPNOTSUPP,
			       "this host gives no guest %s (CPUID 0x%x, word "
			       "%u, bit %u), which %s has: use another --cpu",
			       feature_name(mask->leaf, mask->word, bit),
			       mask->leaf, mask->word, bit,
			       cpu_model_name(model));
	}
	if (word)
		*word &= needed | also;
	return 0;
}

/* No leaf past those of the first processors of this level. */
static void cut_leaves(struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *basic = find(cpuid, LEAF_BASIC, 0);
	struct kvm_cpuid_entry2 *amd = find(cpuid, LEAF_AMD_BASIC, 0);
	uint32_t kept = 0;

	if (basic && basic->eax > LEAF_XSAVE)
		basic->eax = LEAF_XSAVE;
	if (amd && amd->eax > LEAF_AMD_SIZES)
		amd->eax = LEAF_AMD_SIZES;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 entry = cpuid->entries[i];

		if ((entry.function > LEAF_XSAVE &&
		     entry.function < 0x40000000) ||
		    entry.function > LEAF_AMD_SIZES ||
		    (entry.function == LEAF_XSAVE && entry.index > 2) ||
		    (entry.function == LEAF_EXTENDED && entry.index))
			continue;
		if (entry.function == LEAF_EXTENDED)
			entry.eax = 0;
		cpuid->entries[kept++] = entry;
	}
	cpuid->nent = kept;
}

/* One name and one number for all processors of a level and vendor. */
static void set_identity(struct kvm_cpuid2 *cpuid, enum cpu_model model)
{
	struct kvm_cpuid_entry2 *entry = find(cpuid, LEAF_FEATURES, 0);
	bool v2 = model == CPU_X86_64_V2;
	char brand[48] = "";

	/* AMD: Bulldozer's second generation, and Excavator; else Nehalem
	 * and Haswell: the first of their levels. */
	if (entry && is_amd(cpuid))
		entry->eax = v2 ? 0x00600f20 : 0x00660f01;
	else if (entry)
		entry->eax = v2 ? 0x000106a5 : 0x000306c3;
	strncpy(brand, cpu_model_name(model), sizeof(brand) - 1);
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

static int apply_baseline(struct kvm_cpuid2 *cpuid, enum cpu_model model,
			  struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		int r = apply_mask(cpuid, &masks[i], model, err);

		if (r < 0)
			return r;
	}
	cut_leaves(cpuid);
	set_identity(cpuid, model);
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
		entry->ecx |= F1C_HYPERVISOR;
		entry->edx &= ~F1D_MULTIPLE;
		if (cpus > 1)
			entry->edx |= F1D_MULTIPLE;
		break;
	case LEAF_COUNTERS:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case LEAF_CACHES:
	case LEAF_AMD_CACHES:
		set_caches(entry, cpus);
		break;
	case LEAF_AMD_FEATURES:
		/* CMP_LEGACY, on AMD; counters of the core, of the bridge. */
		entry->ecx &= ~(BIT(1) | BIT(23) | BIT(24));
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

int cpuid_apply_model(struct kvm_cpuid2 *cpuid, enum cpu_model model,
		      unsigned cpus, struct err *err)
{
	int r;

	if (!cpus || cpus > LAYOUT_CPUS_MAX)
		return err_set(err, -EINVAL, "%u CPUs: it must be 1 to %u",
			       cpus, LAYOUT_CPUS_MAX);
	if (model != CPU_HOST) {
		r = apply_baseline(cpuid, model, err);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < cpuid->nent; i++)
		set_leaf(&cpuid->entries[i], cpus, is_amd(cpuid));
	add_topology(cpuid, cpus);
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

/* Words of features, and the bits in them that are not the host's to give. */
static const struct {
	uint32_t leaf;
	uint32_t index;
	enum word word;
	uint32_t ours;
} words[] = {
	/* OSXSAVE is the guest's own, HTT says how many there are. */
	{ LEAF_FEATURES, 0, ECX, BIT(27) | F1C_HYPERVISOR },
	{ LEAF_FEATURES, 0, EDX, F1D_MULTIPLE },
	{ LEAF_EXTENDED, 0, EBX, 0 },
	{ LEAF_EXTENDED, 0, ECX, BIT(4) }, /* OSPKE */
	{ LEAF_EXTENDED, 0, EDX, 0 },
	{ LEAF_EXTENDED, 1, EAX, 0 },
	{ LEAF_EXTENDED, 1, EDX, 0 },
	{ LEAF_XSAVE, 0, EAX, 0 },
	{ LEAF_XSAVE, 0, EDX, 0 },
	{ LEAF_XSAVE, 1, EAX, 0 },
	{ LEAF_XSAVE, 1, ECX, 0 },
	{ LEAF_KVM_FEATURES, 0, EAX, 0 },
	{ LEAF_AMD_FEATURES, 0, ECX, BIT(1) }, /* CMP_LEGACY, as HTT */
	{ LEAF_AMD_FEATURES, 0, EDX, 0 },
	{ LEAF_AMD_POWER, 0, EDX, 0 },
	{ LEAF_AMD_SIZES, 0, EBX, 0 },
};

int cpuid_check_host(const struct kvm_cpuid2 *cpuid,
		     const struct kvm_cpuid2 *host, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct kvm_cpuid_entry2 *saved =
			find(cpuid, words[i].leaf, words[i].index);
		struct kvm_cpuid_entry2 *here =
			find(host, words[i].leaf, words[i].index);
		uint32_t lacking;
		unsigned bit;

		if (!saved)
			continue;
		lacking = *word_of(saved, words[i].word) & ~words[i].ours;
		if (here)
			lacking &= ~*word_of(here, words[i].word);
		if (!lacking)
			continue;
		bit = (unsigned)__builtin_ctz(lacking);
		return err_set(err, -EOPNOTSUPP,
			       "the machine has %s (CPUID 0x%x, word %u, bit "
			       "%u), and this host's processor or KVM has "
			       "not: restore it on a host that has",
			       feature_name(words[i].leaf, words[i].word, bit),
			       words[i].leaf, words[i].word, bit);
	}
	return 0;
}
