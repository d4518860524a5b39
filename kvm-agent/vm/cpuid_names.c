/* SPDX-License-Identifier: Apache-2.0 */
/* The words of CPUID that hold features, and how their bits are called. */
#include "kvm-agent/vm/cpuid.h"

#define BIT(n) (1u << (n))

/* spec/cpu.md. OSXSAVE and OSPKE are the guest's own, HTT and CMP_LEGACY say
 * how many there are. */
const struct cpuid_word cpuid_words[CPUID_WORDS] = {
	{ 0x1, 0, CPUID_ECX, BIT(27) | BIT(31) },
	{ 0x1, 0, CPUID_EDX, BIT(28) },
	{ 0x7, 0, CPUID_EBX, 0 },
	{ 0x7, 0, CPUID_ECX, BIT(4) },
	{ 0x7, 0, CPUID_EDX, 0 },
	{ 0x7, 1, CPUID_EAX, 0 },
	{ 0x7, 1, CPUID_EDX, 0 },
	{ 0x7, 2, CPUID_EDX, 0 },
	{ 0xd, 0, CPUID_EAX, 0 },
	{ 0xd, 0, CPUID_EDX, 0 },
	{ 0xd, 1, CPUID_EAX, 0 },
	{ 0xd, 1, CPUID_ECX, 0 },
	{ 0xd, 1, CPUID_EDX, 0 },
	{ 0x40000001, 0, CPUID_EAX, 0 },
	{ 0x80000001, 0, CPUID_ECX, BIT(1) },
	{ 0x80000001, 0, CPUID_EDX, 0 },
	{ 0x80000007, 0, CPUID_EDX, 0 },
	{ 0x80000008, 0, CPUID_EBX, 0 },
	{ 0x80000021, 0, CPUID_EAX, 0 },
};

static const struct {
	uint32_t leaf, index;
	enum cpuid_register word;
	unsigned bit;
	const char *name;
} features[] = {
	{ 0x1, 0, CPUID_ECX, 0, "SSE3" },
	{ 0x1, 0, CPUID_ECX, 1, "PCLMULQDQ" },
	{ 0x1, 0, CPUID_ECX, 5, "VMX" },
	{ 0x1, 0, CPUID_ECX, 9, "SSSE3" },
	{ 0x1, 0, CPUID_ECX, 12, "FMA" },
	{ 0x1, 0, CPUID_ECX, 13, "CMPXCHG16B" },
	{ 0x1, 0, CPUID_ECX, 17, "PCID" },
	{ 0x1, 0, CPUID_ECX, 19, "SSE4.1" },
	{ 0x1, 0, CPUID_ECX, 20, "SSE4.2" },
	{ 0x1, 0, CPUID_ECX, 21, "x2APIC" },
	{ 0x1, 0, CPUID_ECX, 22, "MOVBE" },
	{ 0x1, 0, CPUID_ECX, 23, "POPCNT" },
	{ 0x1, 0, CPUID_ECX, 24, "TSC deadline" },
	{ 0x1, 0, CPUID_ECX, 25, "AES" },
	{ 0x1, 0, CPUID_ECX, 26, "XSAVE" },
	{ 0x1, 0, CPUID_ECX, 28, "AVX" },
	{ 0x1, 0, CPUID_ECX, 29, "F16C" },
	{ 0x1, 0, CPUID_ECX, 30, "RDRAND" },
	{ 0x1, 0, CPUID_EDX, 0, "FPU" },
	{ 0x1, 0, CPUID_EDX, 4, "TSC" },
	{ 0x1, 0, CPUID_EDX, 5, "MSR" },
	{ 0x1, 0, CPUID_EDX, 6, "PAE" },
	{ 0x1, 0, CPUID_EDX, 8, "CX8" },
	{ 0x1, 0, CPUID_EDX, 9, "APIC" },
	{ 0x1, 0, CPUID_EDX, 15, "CMOV" },
	{ 0x1, 0, CPUID_EDX, 23, "MMX" },
	{ 0x1, 0, CPUID_EDX, 24, "FXSR" },
	{ 0x1, 0, CPUID_EDX, 25, "SSE" },
	{ 0x1, 0, CPUID_EDX, 26, "SSE2" },
	{ 0x7, 0, CPUID_EBX, 0, "FSGSBASE" },
	{ 0x7, 0, CPUID_EBX, 3, "BMI1" },
	{ 0x7, 0, CPUID_EBX, 4, "HLE" },
	{ 0x7, 0, CPUID_EBX, 5, "AVX2" },
	{ 0x7, 0, CPUID_EBX, 7, "SMEP" },
	{ 0x7, 0, CPUID_EBX, 8, "BMI2" },
	{ 0x7, 0, CPUID_EBX, 9, "ERMS" },
	{ 0x7, 0, CPUID_EBX, 10, "INVPCID" },
	{ 0x7, 0, CPUID_EBX, 11, "RTM" },
	{ 0x7, 0, CPUID_EBX, 16, "AVX512F" },
	{ 0x7, 0, CPUID_EBX, 18, "RDSEED" },
	{ 0x7, 0, CPUID_EBX, 19, "ADX" },
	{ 0x7, 0, CPUID_EBX, 20, "SMAP" },
	{ 0x7, 0, CPUID_EBX, 29, "SHA" },
	{ 0x7, 0, CPUID_ECX, 2, "UMIP" },
	{ 0x7, 0, CPUID_ECX, 3, "PKU" },
	{ 0x7, 0, CPUID_ECX, 16, "LA57" },
	{ 0x7, 0, CPUID_EDX, 10, "MD_CLEAR" },
	{ 0x7, 0, CPUID_EDX, 24, "AMX-TILE" },
	{ 0x7, 0, CPUID_EDX, 26, "IBRS" },
	{ 0x7, 0, CPUID_EDX, 27, "STIBP" },
	{ 0x7, 0, CPUID_EDX, 29, "ARCH_CAPABILITIES" },
	{ 0x7, 0, CPUID_EDX, 31, "SSBD" },
	{ 0xd, 0, CPUID_EAX, 0, "XSAVE of x87" },
	{ 0xd, 0, CPUID_EAX, 1, "XSAVE of SSE" },
	{ 0xd, 0, CPUID_EAX, 2, "XSAVE of AVX" },
	{ 0xd, 0, CPUID_EAX, 5, "XSAVE of AVX-512 masks" },
	{ 0xd, 0, CPUID_EAX, 6, "XSAVE of AVX-512 ZMM" },
	{ 0xd, 0, CPUID_EAX, 7, "XSAVE of AVX-512 high ZMM" },
	{ 0xd, 0, CPUID_EAX, 9, "XSAVE of PKRU" },
	{ 0xd, 0, CPUID_EAX, 17, "XSAVE of AMX configuration" },
	{ 0xd, 0, CPUID_EAX, 18, "XSAVE of AMX data" },
	{ 0xd, 1, CPUID_EAX, 0, "XSAVEOPT" },
	{ 0xd, 1, CPUID_EAX, 1, "XSAVEC" },
	{ 0xd, 1, CPUID_EAX, 3, "XSAVES" },
	{ 0x80000001, 0, CPUID_ECX, 0, "LAHF" },
	{ 0x80000001, 0, CPUID_ECX, 2, "SVM" },
	{ 0x80000001, 0, CPUID_ECX, 5, "LZCNT" },
	{ 0x80000001, 0, CPUID_EDX, 11, "SYSCALL" },
	{ 0x80000001, 0, CPUID_EDX, 20, "NX" },
	{ 0x80000001, 0, CPUID_EDX, 26, "1 GiB pages" },
	{ 0x80000001, 0, CPUID_EDX, 27, "RDTSCP" },
	{ 0x80000001, 0, CPUID_EDX, 29, "64-bit mode" },
	{ 0x80000007, 0, CPUID_EDX, 8, "invariant TSC" },
};

const char *cpuid_feature_name(uint32_t leaf, uint32_t index,
			       enum cpuid_register word, unsigned bit)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].leaf == leaf && features[i].index == index &&
		    features[i].word == word && features[i].bit == bit)
			return features[i].name;
	}
	return NULL;
}

const char *cpu_capability_name(unsigned bit)
{
	static const char *const names[64] = {
		[0] = "RDCL_NO",        [1] = "IBRS_ALL",
		[2] = "RSBA",           [3] = "SKIP_L1DFL_VMENTRY",
		[4] = "SSB_NO",         [5] = "MDS_NO",
		[6] = "PSCHANGE_MC_NO", [7] = "TSX_CTRL",
		[8] = "TAA_NO",         [13] = "SBDR_SSDP_NO",
		[14] = "FBSDP_NO",      [15] = "PSDP_NO",
		[17] = "FB_CLEAR",      [19] = "RRSBA",
		[20] = "BHI_NO",        [24] = "PBRSB_NO",
		[26] = "GDS_NO",        [27] = "RFDS_NO",
		[28] = "RFDS_CLEAR",
	};

	return bit < 64 ? names[bit] : NULL;
}
