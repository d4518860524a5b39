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

/* Linux divides by the ways of AMD's first cache, of which KVM may tell none. */
static void test_first_cache(void **state)
{
	struct kvm_cpuid2 *cpuid = make();
	struct kvm_cpuid_entry2 *first = leaf(cpuid, 0x80000004, 0);

	(void)state;
	first->function = 0x80000005;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V2, 1, NULL), 0);
	assert_int_equal(leaf(cpuid, 0x80000005, 0)->edx, 0);
	leaf(cpuid, 0, 0)->ebx = 0x68747541;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V2, 1, NULL), 0);
	assert_int_equal(leaf(cpuid, 0x80000005, 0)->edx, 0x20080140);
	leaf(cpuid, 0x80000005, 0)->edx = 0x40020140;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 1, NULL), 0);
	assert_int_equal(leaf(cpuid, 0x80000005, 0)->edx, 0x40020140);
	free(cpuid);
}

static void test_names(void **state)
{
	enum cpu_model model = CPU_HOST;

	(void)state;
	assert_true(cpu_model_parse("x86-64-v3", &model));
	assert_int_equal(model, CPU_X86_64_V3);
	assert_false(cpu_model_parse("x86-64-v4", &model));
	assert_int_equal(model, CPU_X86_64_V3);
	assert_string_equal(cpu_model_name(CPU_X86_64_V2), "x86-64-v2");
}

/* ---- lists ---- */

/* Of the host above, as it is told with these capabilities. */
static void list_of_host(struct cpu_baseline *out, uint64_t capabilities)
{
	struct kvm_cpuid2 *cpuid = make();

	cpu_baseline_of(cpuid, capabilities, out);
	free(cpuid);
}

static void test_list_round_trip(void **state)
{
	struct cpu_baseline list, again;
	char *text;

	(void)state;
	list_of_host(&list, 0x8000000000000029);
	assert_string_equal(list.vendor, "GenuineIntel");
	assert_int_equal(cpu_baseline_print(&list, &text, NULL), 0);
	assert_non_null(strstr(text, "\nsignature 000c06f2\n"));
	assert_non_null(strstr(text, "\ncpuid 00000001.0 ecx 20 # SSE4.2\n"));
	assert_non_null(strstr(text, "\nmsr 0000010a 5 # MDS_NO\n"));
	assert_non_null(strstr(text, "\nmsr 0000010a 63\n"));
	/* Not the hypervisor's bit, not OSXSAVE. */
	assert_null(strstr(text, "00000001.0 ecx 31"));
	assert_null(strstr(text, "00000001.0 ecx 27"));
	assert_int_equal(cpu_baseline_parse(text, strlen(text), &again, NULL),
			 0);
	assert_memory_equal(&list, &again, sizeof(list));
	free(text);
}

static void refuse(const char *text, int code, const char *words)
{
	struct cpu_baseline list;
	struct err err;

	assert_int_equal(cpu_baseline_parse(text, strlen(text), &list, &err),
			 code);
	if (!strstr(err.text, words))
		fail_msg("'%s' instead of '%s'", err.text, words);
}

#define GOOD "version 1\nvendor GenuineIntel\n"

static void test_lists_refused(void **state)
{
	static char large[CPU_FILE_MAX + 2];
	struct cpu_baseline list;

	(void)state;
	assert_int_equal(cpu_baseline_parse(GOOD, strlen(GOOD), &list, NULL),
			 0);
	refuse("", -EINVAL, "no 'version 1'");
	refuse("version 1\n", -EINVAL, "no vendor");
	refuse("version 2\nvendor x\n", -EOPNOTSUPP, "version 2");
	refuse("version one\n", -EINVAL, "line 1");
	refuse(GOOD "vendor Other\n", -EINVAL, "line 3: a second");
	refuse(GOOD "vendor ThirteenBytes\n", -EINVAL, "12 letters");
	refuse(GOOD "signature 1\n", -EINVAL, "line 3");
	refuse(GOOD "signature 00000000\n", -EINVAL, "line 3");
	refuse(GOOD "cpuid 00000001.0 ecx 32\n", -EINVAL, "0 to 31");
	refuse(GOOD "cpuid 00000001.0 ecx -1\n", -EINVAL, "0 to 31");
	refuse(GOOD "cpuid 00000001.0 eax 1\n", -EINVAL, "no word");
	refuse(GOOD "cpuid 00000001.1 ecx 1\n", -EINVAL, "no word");
	refuse(GOOD "cpuid 0000001.0 ecx 1\n", -EINVAL, "a leaf is");
	refuse(GOOD "cpuid 00000001 ecx 1\n", -EINVAL, "a leaf is");
	refuse(GOOD "cpuid 00000001.0 ecx 1 2\n", -EINVAL, "none of");
	refuse(GOOD "msr 0000010b 1\n", -EINVAL, "only MSR");
	refuse(GOOD "msr 0000010a 64\n", -EINVAL, "0 to 63");
	refuse(GOOD "colour blue\n", -EINVAL, "line 3");
	refuse(GOOD "# \x1b[2J\n", -EINVAL, "no text");
	memset(large, 'x', sizeof(large) - 1);
	refuse(large, -EINVAL, "longer than 65536");
	large[200] = 0;
	refuse(large, -EINVAL, "longer than 127");
}

static void test_list_applied(void **state)
{
	static const char text[] =
		"# of the fleet\ncpuid 00000001.0 ecx 20 # SSE4.2\n\n"
		"msr 0000010a 5\ncpuid 00000001.0\tedx 25\r\nversion 1\n"
		"vendor GenuineIntel\ncpuid 00000001.0 ecx 20\n"
		"cpuid 0000000d.0 eax 0\ncpuid 0000000d.0 eax 1\n"
		"cpuid 0000000d.0 eax 2\ncpuid 00000007.1 eax 10";
	struct kvm_cpuid2 *cpuid = make();
	struct cpu_baseline list;

	(void)state;
	assert_int_equal(cpu_baseline_parse(text, strlen(text), &list, NULL),
			 0);
	assert_int_equal(cpuid_apply_baseline(cpuid, 0x28, &list, 2, NULL), 0);
	/* And what is no host's to give. */
	assert_int_equal(leaf(cpuid, 1, 0)->ecx,
			 1u << 20 | 1u << 27 | 1u << 31);
	assert_int_equal(leaf(cpuid, 1, 0)->edx, 1u << 25 | 1u << 28);
	assert_int_equal(leaf(cpuid, 1, 0)->eax, 0x000106a5);
	assert_int_equal(leaf(cpuid, 7, 0)->ebx, 0);
	assert_int_equal(leaf(cpuid, 7, 1)->eax, 1u << 10);
	/* The state that is left, and its size. */
	assert_int_equal(leaf(cpuid, 0xd, 0)->eax, 7);
	assert_int_equal(leaf(cpuid, 0xd, 0)->ecx, 0x340);
	assert_non_null(leaf(cpuid, 0xd, 2));
	assert_null(leaf(cpuid, 0xd, 5));
	assert_int_equal(leaf(cpuid, 0x80000001, 0)->edx, 0);
	assert_memory_equal(&leaf(cpuid, 0x80000002, 0)->eax, "vmsn", 4);
	free(cpuid);
}

static void apply(const struct cpu_baseline *list, uint64_t capabilities,
		  const char *words)
{
	struct kvm_cpuid2 *cpuid = make();
	struct err err = { 0 };
	int r = cpuid_apply_baseline(cpuid, capabilities, list, 1, &err);

	assert_int_equal(r, *words ? -EOPNOTSUPP : 0);
	if (!strstr(err.text, words))
		fail_msg("'%s' instead of '%s'", err.text, words);
	free(cpuid);
}

static void test_list_lacking(void **state)
{
	struct cpu_baseline list;

	(void)state;
	list_of_host(&list, 0x28);
	apply(&list, 0x28, "");
	apply(&list, 0x29, "");
	apply(&list, 0x20, "SKIP_L1DFL_VMENTRY (MSR 0x10a, bit 3)");
	/* Weaknesses: told where there are some, and where there may be. */
	apply(&list, 0x2c, "the weakness RSBA");
	list.capabilities |= CPU_CAPABILITIES_WEAK;
	apply(&list, 0x28, "");
	apply(&list, 0x2c, "");
	list.words[0] |= 1u << 10;
	apply(&list, 0x28, "a feature (CPUID 0x1.0, word 2, bit 10)");
	list.words[0] &= ~(1u << 10);
	list.words[13] |= 1u << 7;
	apply(&list, 0x28, "CPUID 0x40000001.0");
	list.words[13] = 0;
	strcpy(list.vendor, "AuthenticAMD");
	apply(&list, 0x28,
	      "of GenuineIntel, and that of --cpu of AuthenticAMD");
}

/* No guest is a host: what is nested can't be saved. */
static void test_nothing_nested(void **state)
{
	struct kvm_cpuid2 *cpuid = make();

	(void)state;
	leaf(cpuid, 0x80000001, 0)->ecx |= 1u << 2;
	assert_true(leaf(cpuid, 1, 0)->ecx & 1u << 5);
	assert_int_equal(cpuid_apply_model(cpuid, CPU_HOST, 1, NULL), 0);
	assert_false(leaf(cpuid, 1, 0)->ecx & 1u << 5);
	assert_false(leaf(cpuid, 0x80000001, 0)->ecx & 1u << 2);
	free(cpuid);
}

/* What KVM has of its own differs from kernel to kernel, too. */
static void test_baseline_of_kvm(void **state)
{
	struct kvm_cpuid2 *cpuid = make();
	struct kvm_cpuid_entry2 added = { .function = 0x40000001,
					  .eax = 0xffffffff };

	(void)state;
	cpuid->entries[cpuid->nent++] = added;
	assert_int_equal(cpuid_apply_model(cpuid, CPU_X86_64_V3, 1, NULL), 0);
	assert_int_equal(leaf(cpuid, 0x40000001, 0)->eax, 0x01007efb);
	assert_int_equal(leaf(cpuid, 0xd, 0)->ecx, 0x340);
	free(cpuid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_baselines),
		cmocka_unit_test(test_lacking),
		cmocka_unit_test(test_first_cache),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_list_round_trip),
		cmocka_unit_test(test_lists_refused),
		cmocka_unit_test(test_list_applied),
		cmocka_unit_test(test_list_lacking),
		cmocka_unit_test(test_nothing_nested),
		cmocka_unit_test(test_baseline_of_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
