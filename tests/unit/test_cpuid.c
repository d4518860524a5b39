/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID of guests, from a made-up host: ids, topology, baselines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/vm/cpuid.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

/* Leaf, index, flags, EAX, EBX, ECX, EDX. */
#define LEAF(...)            \
	{                    \
		__VA_ARGS__, \
		{            \
			0    \
		}            \
	}

static const struct kvm_cpuid_entry2 host[] = {
	/* "GenuineIntel" */
	LEAF(0, 0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69),
	LEAF(1, 0, 0, 0xc06f2, 0x05100800, 0xfffffbff, 0xbfebfbff),
	LEAF(4, 0, INDEXED, 0x04000121, 0x02c0003f, 0x3f, 0),
	LEAF(4, 3, INDEXED, 0x04004163, 0x04c0003f, 0x3ffff, 0),
	LEAF(4, 4, INDEXED, 0, 0, 0, 0),
	LEAF(7, 0, INDEXED, 2, 0xffffffff, 0xffffffff, 0xffffffff),
	LEAF(7, 1, INDEXED, 0x1c00, 0, 0, 0),
	LEAF(0xa, 0, 0, 0x07300404, 0, 0, 0x603),
	LEAF(0xb, 0, INDEXED, 1, 2, 0x100, 5),
	LEAF(0xb, 1, INDEXED, 4, 16, 0x201, 5),
	LEAF(0xd, 0, INDEXED, 0xe7, 0xa80, 0xa80, 0),
	LEAF(0xd, 1, INDEXED, 0xf, 0, 0, 0),
	LEAF(0xd, 2, INDEXED, 0x100, 0x240, 0, 0),
	LEAF(0xd, 5, INDEXED, 0x40, 0x440, 0, 0),
	LEAF(0x1f, 0, INDEXED, 1, 2, 0x100, 5),
	LEAF(0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
	LEAF(0x80000000, 0, 0, 0x80000021, 0, 0, 0),
	LEAF(0x80000001, 0, 0, 0, 0, 0x121, 0x2c100800),
	LEAF(0x80000002, 0, 0, 0x41414141, 0, 0, 0),
	LEAF(0x80000003, 0, 0, 0x41414141, 0, 0, 0),
	LEAF(0x80000004, 0, 0, 0x41414141, 0, 0, 0),
	LEAF(0x80000008, 0, 0, 0x3930, 0xffffffff, 0, 0),
	LEAF(0x80000021, 0, 0, 0x244, 0, 0, 0),
};

static struct kvm_cpuid2 *make(void)
{
	struct kvm_cpuid2 *cpuid;

	assert_int_equal(alloc_array(&cpuid, 1,
				     sizeof(*cpuid) + CPUID_ENTRIES_MAX *
							      sizeof(host[0]),
				     NULL),
			 0);
	memcpy(cpuid->entries, host, sizeof(host));
	cpuid->nent = ARRAY_SIZE(host);
	return cpuid;
}

static struct kvm_cpuid_entry2 *leaf(struct kvm_cpuid2 *cpuid, uint32_t number,
				     uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == number &&
		    cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static void test_topology(void **state)
{
	struct kvm_cpuid2 *cpuid = make();

	(void)state;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 5, NULL), 0);
	cpuid_set_processor(cpuid, 3, 5);
	/* The id, and room for 8 of them; CLFLUSH is as it was. */
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x03080800);
	assert_true(leaf(cpuid, 1, 0)->edx & 1u << 28);
	assert_true(leaf(cpuid, 1, 0)->ecx & 1u << 31);
	/* The first cache is a core's own, the third is shared by all. */
	assert_int_equal(leaf(cpuid, 4, 0)->eax, 0x1c000121);
	assert_int_equal(leaf(cpuid, 4, 3)->eax, 0x1c01c163);
	assert_int_equal(leaf(cpuid, 4, 4)->eax, 0);
	assert_int_equal(leaf(cpuid, 0xb, 0)->eax, 0);
	assert_int_equal(leaf(cpuid, 0xb, 0)->ebx, 1);
	assert_int_equal(leaf(cpuid, 0xb, 1)->eax, 3);
	assert_int_equal(leaf(cpuid, 0xb, 1)->ebx, 5);
	assert_int_equal(leaf(cpuid, 0xb, 1)->edx, 3);
	assert_null(leaf(cpuid, 0x1f, 0));
	/* No counters. */
	assert_int_equal(leaf(cpuid, 0xa, 0)->eax, 0);
	/* Once more, for the next. */
	cpuid_set_processor(cpuid, 4, 5);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x04080800);
	assert_int_equal(leaf(cpuid, 0xb, 0)->edx, 4);
	free(cpuid);

	cpuid = make();
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 1, NULL), 0);
	cpuid_set_processor(cpuid, 0, 1);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x00010800);
	assert_false(leaf(cpuid, 1, 0)->edx & 1u << 28);
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 0, NULL), -EINVAL);
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 65, NULL), -EINVAL);
	free(cpuid);
}

static void test_baselines(void **state)
{
	struct kvm_cpuid2 *cpuid = make();

	(void)state;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V2, 1, NULL), 0);
	/* SSE4.2 stays; AVX, AVX2, XSAVE and what this host is called go. */
	assert_true(leaf(cpuid, 1, 0)->ecx & 1u << 20);
	assert_false(leaf(cpuid, 1, 0)->ecx & (1u << 28 | 1u << 26 | 1u << 27));
	assert_int_equal(leaf(cpuid, 7, 0)->ebx & 1u << 5, 0);
	assert_int_equal(leaf(cpuid, 7, 0)->ecx, 0);
	assert_int_equal(leaf(cpuid, 7, 0)->eax, 0);
	assert_null(leaf(cpuid, 7, 1));
	assert_int_equal(leaf(cpuid, 0xd, 0)->eax, 0);
	assert_int_equal(leaf(cpuid, 0, 0)->eax, 0xd);
	assert_int_equal(leaf(cpuid, 0x80000000, 0)->eax, 0x80000008);
	assert_null(leaf(cpuid, 0x80000021, 0));
	assert_non_null(leaf(cpuid, 0x40000000, 0));
	assert_memory_equal(&leaf(cpuid, 0x80000002, 0)->eax, "x86-", 4);
	free(cpuid);

	cpuid = make();
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V3, 1, NULL), 0);
	assert_true(leaf(cpuid, 1, 0)->ecx & 1u << 28);
	assert_int_equal(leaf(cpuid, 7, 0)->ebx, 0x3a8);
	assert_int_equal(leaf(cpuid, 0xd, 0)->eax, 7);
	assert_null(leaf(cpuid, 0xd, 5));
	assert_int_equal(leaf(cpuid, 0xd, 1)->eax, 1);
	free(cpuid);
}

static void test_lacking(void **state)
{
	struct kvm_cpuid2 *cpuid = make();
	struct err err;

	(void)state;
	leaf(cpuid, 7, 0)->ebx &= ~(1u << 5);
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V3, 1, &err),
			 -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "no guest AVX2"));
	assert_non_null(strstr(err.text, "x86-64-v3"));
	free(cpuid);
	cpuid = make();
	leaf(cpuid, 7, 0)->ebx &= ~(1u << 5);
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V2, 1, &err), 0);
	free(cpuid);
}

static void test_names(void **state)
{
	enum cpu_model model = CPU_HOST;

	(void)state;
	assert_int_equal(cpu_model_parse("x86-64-v3", &model, NULL), 0);
	assert_int_equal(model, CPU_X86_64_V3);
	assert_int_equal(cpu_model_parse("x86-64-v4", &model, NULL), -EINVAL);
	assert_int_equal(model, CPU_X86_64_V3);
	assert_string_equal(cpu_model_name(CPU_X86_64_V2), "x86-64-v2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_baselines),
		cmocka_unit_test(test_lacking),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
