/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's image as bytes and back, and bytes that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/vm/vcpu_state.h"

/* Where the first ones stand in a state of one section. */
#define CPUID_COUNT_AT (16 + 32)
#define INDEXED_AT     (CPUID_COUNT_AT + 4 + 8)
#define MP_AT          (CPUID_COUNT_AT + 4 + 2 * 25 + 4)

/* Each byte another, also where the kernel has padding. */
static void fill(void *data, size_t size, unsigned seed)
{
	uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

static void make(struct vcpu_image *image)
{
	assert_int_equal(vcpu_image_init(image, NULL), 0);
	image->cpuid->nent = 2;
	fill(image->cpuid->entries, 2 * sizeof(image->cpuid->entries[0]), 1);
	image->cpuid->entries[0].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	image->cpuid->entries[1].flags = 0;
	fill(&image->regs, sizeof(image->regs), 2);
	fill(&image->sregs, sizeof(image->sregs), 3);
	fill(&image->debug, sizeof(image->debug), 4);
	fill(&image->lapic, sizeof(image->lapic), 5);
	fill(&image->events, sizeof(image->events), 6);
	image->events.flags = 0x0d;
	fill(&image->xcrs, sizeof(image->xcrs), 7);
	image->xcrs.nr_xcrs = 3;
	image->mp.mp_state = KVM_MP_STATE_HALTED;
	image->tsc_khz = 2700000;
	image->msr_count = 5;
	fill(image->msrs, 5 * sizeof(image->msrs[0]), 8);
	image->xsave_bytes = 4100;
	fill(image->xsave, image->xsave_bytes, 9);
}

static void put(struct vcpu_image *image, struct state_writer *out)
{
	assert_int_equal(state_begin(out, NULL), 0);
	vcpu_state_put(image, 7, out);
	assert_int_equal(state_finish(out, NULL), 0);
}

static int get(struct vcpu_image *image, const struct state_writer *writer)
{
	struct state state;
	struct err err;

	assert_int_equal(state_open(&state, writer->bytes.data,
				    writer->bytes.size, &err),
			 0);
	return vcpu_state_get(image, 7, &state, &err);
}

static void test_round_trip(void **state)
{
	struct state_writer first, second;
	struct vcpu_image a, b;

	(void)state;
	make(&a);
	put(&a, &first);
	assert_int_equal(vcpu_image_init(&b, NULL), 0);
	assert_int_equal(get(&b, &first), 0);
	put(&b, &second);
	assert_int_equal(first.bytes.size, second.bytes.size);
	assert_memory_equal(first.bytes.data, second.bytes.data,
			    first.bytes.size);
	/* And not only as bytes. */
	assert_memory_equal(&a.regs, &b.regs, sizeof(a.regs));
	assert_memory_equal(a.xsave, b.xsave, a.xsave_bytes);
	assert_int_equal(b.sregs.cs.selector, a.sregs.cs.selector);
	assert_int_equal(b.sregs.ldt.unusable, a.sregs.ldt.unusable);
	assert_int_equal(b.sregs.efer, a.sregs.efer);
	assert_int_equal(b.sregs.pdptrs[3], a.sregs.pdptrs[3]);
	assert_int_equal(b.events.sipi_vector, a.events.sipi_vector);
	assert_int_equal(b.msrs[4].value, a.msrs[4].value);
	assert_int_equal(b.xcrs.xcrs[2].value, a.xcrs.xcrs[2].value);
	assert_int_equal(b.debug.dr7, a.debug.dr7);
	assert_memory_equal(b.lapic.regs + 16 * 63, a.lapic.regs + 16 * 63, 4);
	state_release(&first);
	state_release(&second);
	vcpu_image_release(&a);
	vcpu_image_release(&b);
}

/* The state with one number changed, and its check made right. */
static int get_changed(const struct state_writer *writer, size_t at,
		       uint32_t value, size_t size)
{
	struct state_writer changed;
	struct vcpu_image image;
	uint8_t fields[16384];
	size_t length = writer->bytes.size - CPUID_COUNT_AT - 8;
	int r;

	assert_true(length <= sizeof(fields));
	memcpy(fields, writer->bytes.data + CPUID_COUNT_AT, length);
	memcpy(fields + at - CPUID_COUNT_AT, &value, size);
	assert_int_equal(state_begin(&changed, NULL), 0);
	section_begin(&changed, VCPU_SECTION, 7, 1);
	section_put_bytes(&changed, fields, length);
	section_end(&changed);
	assert_int_equal(state_finish(&changed, NULL), 0);
	assert_int_equal(vcpu_image_init(&image, NULL), 0);
	r = get(&image, &changed);
	vcpu_image_release(&image);
	state_release(&changed);
	return r;
}

static void test_damaged(void **state)
{
	struct state_writer writer;
	struct vcpu_image image;

	(void)state;
	make(&image);
	put(&image, &writer);
	assert_int_equal(get_changed(&writer, CPUID_COUNT_AT, 2, 4), 0);
	assert_int_equal(get_changed(&writer, CPUID_COUNT_AT, 257, 4),
			 -EBADMSG);
	assert_int_equal(get_changed(&writer, CPUID_COUNT_AT, 1, 4), -EBADMSG);
	assert_int_equal(get_changed(&writer, INDEXED_AT, 2, 1), -EBADMSG);
	assert_int_equal(get_changed(&writer, MP_AT - 4, 0, 4), -EBADMSG);
	assert_int_equal(get_changed(&writer, MP_AT, 4, 4), 0);
	assert_int_equal(get_changed(&writer, MP_AT, 5, 4), -EBADMSG);
	state_release(&writer);
	vcpu_image_release(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
