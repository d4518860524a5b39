/* SPDX-License-Identifier: Apache-2.0 */
/* Records written and read, texts and names; each rule seen failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/store/record.h"

static void test_round(void **state)
{
	static const uint8_t expected[] = {
		1, 0, 1, 0, 4, 0, 0, 0, 4,   3,   2, 1,             /* u32 */
		2, 0, 0, 0, 8, 0, 0, 0, 8,   7,   6, 5, 4, 3, 2, 1, /* u64 */
		3, 1, 1, 0, 2, 0, 0, 0, 'h', 'i',                   /* text */
		4, 0, 0, 0, 0, 0, 0, 0,                             /* empty */
	};
	struct bytes out = { 0 };
	struct reader reader;
	struct record record;
	uint32_t small;
	uint64_t large;
	char *text = NULL;

	(void)state;
	assert_int_equal(record_put_u32(&out, 1, true, 0x01020304, NULL), 0);
	assert_int_equal(
		record_put_u64(&out, 2, false, 0x0102030405060708, NULL), 0);
	assert_int_equal(record_put_text(&out, 0x103, true, "hi", NULL), 0);
	assert_int_equal(record_put(&out, 4, false, NULL, 0, NULL), 0);
	assert_int_equal(out.size, sizeof(expected));
	assert_memory_equal(out.data, expected, sizeof(expected));

	reader = (struct reader){ out.data, out.size };
	assert_int_equal(record_next(&reader, &record, "x", NULL), 1);
	assert_true(record.type == 1 && record.required);
	assert_int_equal(record_u32(&record, &small, "x", NULL), 0);
	assert_int_equal(small, 0x01020304);
	assert_int_equal(record_u64(&record, &large, "x", NULL), -EBADMSG);
	assert_int_equal(record_next(&reader, &record, "x", NULL), 1);
	assert_true(record.type == 2 && !record.required);
	assert_int_equal(record_u64(&record, &large, "x", NULL), 0);
	assert_true(large == 0x0102030405060708);
	assert_int_equal(record_u32(&record, &small, "x", NULL), -EBADMSG);
	assert_int_equal(record_next(&reader, &record, "x", NULL), 1);
	assert_true(record.type == 0x103);
	assert_int_equal(record_text(&record, 1, &text, "x", NULL), -EBADMSG);
	assert_null(text);
	assert_int_equal(record_text(&record, 2, &text, "x", NULL), 0);
	assert_string_equal(text, "hi");
	/* It stands twice. */
	assert_int_equal(record_text(&record, 2, &text, "x", NULL), -EBADMSG);
	assert_int_equal(record_next(&reader, &record, "x", NULL), 1);
	assert_true(record.type == 4 && record.size == 0);
	assert_int_equal(record_next(&reader, &record, "x", NULL), 0);
	free(text);
	bytes_release(&out);
}

static void test_put_refuses(void **state)
{
	struct bytes out = { 0 };

	(void)state;
	assert_int_equal(record_put(&out, 0x10000, true, "", 0, NULL), -EINVAL);
	assert_int_equal(record_put(&out, 1, true, "", 1ull << 32, NULL),
			 -EINVAL);
	assert_int_equal(record_put_text(&out, 1, true, "\xff", NULL), -EINVAL);
	assert_int_equal(out.size, 0);
	bytes_release(&out);
}

static int next(const void *data, size_t size)
{
	struct reader reader = { data, size };
	struct record record;
	struct err err = { 0 };
	int r = record_next(&reader, &record, "manifest", &err);

	if (r < 0)
		assert_int_equal(strncmp(err.text, "manifest", 8), 0);
	return r;
}

static void test_next_refuses(void **state)
{
	static const uint8_t record[] = { 1, 0, 1, 0, 2, 0, 0, 0, 'a', 'b' };
	uint8_t changed[sizeof(record)];

	(void)state;
	assert_int_equal(next(record, sizeof(record)), 1);
	for (size_t size = 1; size < sizeof(record); size++)
		assert_int_equal(next(record, size), -EBADMSG);
	for (unsigned bit = 1; bit < 16; bit++) {
		memcpy(changed, record, sizeof(record));
		changed[2 + bit / 8] |= (uint8_t)(1 << bit % 8);
		assert_int_equal(next(changed, sizeof(record)), -EBADMSG);
	}
	memcpy(changed, record, sizeof(record));
	memset(changed + 4, 0xff, 4);
	assert_int_equal(next(changed, sizeof(record)), -EBADMSG);
}

static bool text(const char *literal)
{
	return text_is_valid(literal, strlen(literal));
}

static void test_text(void **state)
{
	struct record record = { .type = 1,
				 .payload = (const uint8_t *)"a\0b",
				 .size = 3 };
	char *out = NULL;

	(void)state;
	assert_true(text(""));
	assert_true(text("plain\n\x7f"));
	assert_true(text("\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf"));
	assert_true(text("\xee\x80\x80 \xef\xbf\xbf \xf0\x90\x80\x80"));
	assert_true(text("\xf4\x8f\xbf\xbf"));
	assert_false(text("\x80"));
	assert_false(text("\xc1\xbf"));         /* longer than it need be */
	assert_false(text("\xe0\x9f\xbf"));     /* the same */
	assert_false(text("\xf0\x8f\xbf\xbf")); /* the same */
	assert_false(text("\xed\xa0\x80"));     /* a surrogate */
	assert_false(text("\xf4\x90\x80\x80")); /* past the last */
	assert_false(text("\xf8\x88\x80\x80\x80"));
	assert_false(text("\xc3"));
	assert_false(text("\xe2\x82"));
	assert_false(text("\xe2\x28\xa1"));
	assert_false(text_is_valid("a\0b", 3));
	assert_int_equal(record_text(&record, 9, &out, "x", NULL), -EBADMSG);
	assert_null(out);
}

static void test_names(void **state)
{
	char name[130];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_true(name_is_valid(name, 1));
	assert_true(name_is_valid(name, 128));
	assert_false(name_is_valid(name, 129));
	assert_false(name_is_valid(name, 0));
	assert_true(name_is_valid("Z9.-_x", 6));
	assert_false(name_is_valid(".a", 2));
	assert_false(name_is_valid("-a", 2));
	assert_false(name_is_valid("_a", 2));
	assert_false(name_is_valid("a/b", 3));
	assert_false(name_is_valid("a b", 3));
	assert_false(name_is_valid("a\0b", 3));
	assert_false(name_is_valid("a@b", 3));
	assert_false(name_is_valid("\xc3\xa4", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_put_refuses),
		cmocka_unit_test(test_next_refuses),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
