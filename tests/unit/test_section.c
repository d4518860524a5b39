/* SPDX-License-Identifier: Apache-2.0 */
/* The encoding of a machine's state, and the example of spec/state.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <xxhash.h>

#include "format/base/le.h"
#include "kvm-agent/state/section.h"

static void write_example(struct state_writer *writer)
{
	assert_int_equal(state_begin(writer, NULL), 0);
	section_begin(writer, "example", 2, 3);
	section_put_u8(writer, 0x11);
	section_put_u16(writer, 0x2233);
	section_put_u32(writer, 0x44556677);
	section_put_u64(writer, 0x8899aabbccddeeff);
	section_put_bytes(writer, "abc", 3);
	section_end(writer);
	assert_int_equal(state_finish(writer, NULL), 0);
}

/* The four-space block of hex behind "## Example". */
static size_t example_of_page(uint8_t *out, size_t capacity)
{
	const char *top = getenv("TOP");
	char path[4096], line[2048];
	bool inside = false;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/spec/state.md", top ? top : ".");
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned byte;
		int taken;

		if (line[0] == '#')
			inside = !strncmp(line, "## Example", 10);
		if (!inside || strncmp(line, "    ", 4) != 0)
			continue;
		for (const char *at = line;
		     sscanf(at, "%2x%n", &byte, &taken) == 1; at += taken) {
			assert_true(size < capacity);
			out[size++] = (uint8_t)byte;
		}
	}
	fclose(file);
	return size;
}

static void test_example(void **state)
{
	struct state_writer writer;
	uint8_t page[256];
	size_t size = example_of_page(page, sizeof(page));

	(void)state;
	write_example(&writer);
	if (size != writer.bytes.size ||
	    memcmp(page, writer.bytes.data, size) != 0) {
		for (size_t i = 0; i < writer.bytes.size; i++)
			printf("%02x%c", writer.bytes.data[i],
			       i % 16 == 15 ? '\n' : ' ');
		fail_msg("spec/state.md shows other bytes than these");
	}
	state_release(&writer);
}

static void test_round_trip(void **state)
{
	struct section_reader in;
	struct state_writer writer;
	struct state opened;
	char text[3];

	(void)state;
	write_example(&writer);
	assert_int_equal(
		state_open(&opened, writer.bytes.data, writer.bytes.size, NULL),
		0);
	assert_int_equal(state_count(&opened, "example"), 1);
	assert_int_equal(state_find(&opened, "example", 0, 3, &in, NULL),
			 -ENOENT);
	assert_int_equal(state_find(&opened, "exampl", 2, 3, &in, NULL),
			 -ENOENT);
	assert_int_equal(state_find(&opened, "example", 2, 2, &in, NULL),
			 -EOPNOTSUPP);
	assert_int_equal(state_find(&opened, "example", 2, 4, &in, NULL), 0);
	assert_int_equal(in.version, 3);
	assert_int_equal(section_get_u8(&in), 0x11);
	assert_int_equal(section_get_u16(&in), 0x2233);
	assert_int_equal(section_get_u32(&in), 0x44556677);
	assert_true(section_get_u64(&in) == 0x8899aabbccddeeff);
	assert_int_equal(section_done(&in, NULL), -EBADMSG);
	section_get_bytes(&in, text, 3);
	assert_memory_equal(text, "abc", 3);
	assert_int_equal(section_done(&in, NULL), 0);
	assert_int_equal(section_get_u32(&in), 0);
	assert_int_equal(section_done(&in, NULL), -EBADMSG);
	state_release(&writer);
}

static void fix_check(uint8_t *data, size_t size)
{
	le64 check = le64_make(XXH3_64bits(data, size - 8));

	memcpy(data + size - 8, &check, sizeof(check));
}

static void test_each_byte_counts(void **state)
{
	struct state_writer writer;
	struct state opened;

	(void)state;
	write_example(&writer);
	for (size_t i = 0; i < writer.bytes.size; i++) {
		writer.bytes.data[i] ^= 0x20;
		assert_true(state_open(&opened, writer.bytes.data,
				       writer.bytes.size, NULL) < 0);
		writer.bytes.data[i] ^= 0x20;
	}
	for (size_t size = 0; size < writer.bytes.size; size++)
		assert_int_equal(
			state_open(&opened, writer.bytes.data, size, NULL),
			-EBADMSG);
	state_release(&writer);
}

/* Heads that lie under a check that holds. */
static void test_lies(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} lies[] = {
		{ 12, 2 },  { 12, 0 },    { 15, 1 }, { 16, 'E' },
		{ 16, 0 },  { 30, 'x' },  { 36, 0 }, { 40, 17 },
		{ 40, 19 }, { 43, 0xff }, { 44, 1 },
	};
	struct state_writer writer;
	struct state opened;

	(void)state;
	write_example(&writer);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint8_t was = writer.bytes.data[lies[i].at];

		writer.bytes.data[lies[i].at] = lies[i].value;
		fix_check(writer.bytes.data, writer.bytes.size);
		assert_int_equal(state_open(&opened, writer.bytes.data,
					    writer.bytes.size, NULL),
				 -EBADMSG);
		writer.bytes.data[lies[i].at] = was;
	}
	writer.bytes.data[8] = 2;
	fix_check(writer.bytes.data, writer.bytes.size);
	assert_int_equal(
		state_open(&opened, writer.bytes.data, writer.bytes.size, NULL),
		-EOPNOTSUPP);
	state_release(&writer);
}

static void test_writer_keeps_the_first_failure(void **state)
{
	struct state_writer writer;
	struct err err;

	(void)state;
	assert_int_equal(state_begin(&writer, NULL), 0);
	section_begin(&writer, "a-name-that-is-too-long", 0, 1);
	section_put_u32(&writer, 1);
	section_end(&writer);
	assert_int_equal(state_finish(&writer, &err), -EINVAL);
	state_release(&writer);
	assert_int_equal(state_begin(&writer, NULL), 0);
	section_begin(&writer, "one", 0, 1);
	section_begin(&writer, "two", 0, 1);
	assert_int_equal(state_finish(&writer, NULL), -EINVAL);
	state_release(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_each_byte_counts),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_writer_keeps_the_first_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
