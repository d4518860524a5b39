/* SPDX-License-Identifier: Apache-2.0 */
/* The recovery copy as it is written, as it is typed in, and typed wrong. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/keys.h"

static struct config_file config;
static struct slot_file slots[3]; /* the last: of another store */
static struct bytes copy;         /* with a NUL behind it */

static int setup(void **state)
{
	struct store_config values = { .store = { { 4 } },
				       .chunk_log2 = 16,
				       .level = 3,
				       .pack_size_bytes = 1 << 25 };
	struct slot_parameters quick = { .log2_n = 10, .r = 1, .p = 1 };
	struct store_id other = { { 5 } };
	struct masters masters;

	(void)state;
	if (masters_make(&masters, NULL) < 0 ||
	    config_encode(&values, &masters, &config, NULL) < 0 ||
	    slot_make(&slots[0], &values.store, &masters, "x", 1, &quick,
		      "first", NULL) < 0 ||
	    slot_make(&slots[1], &values.store, &masters, NULL, 0, NULL, NULL,
		      NULL) < 0 ||
	    slot_make(&slots[2], &other, &masters, NULL, 0, NULL, NULL, NULL) <
		    0 ||
	    recovery_encode(&config, slots, 2, &copy, NULL) < 0 ||
	    !bytes_extend(&copy, 1, NULL))
		return -1;
	copy.size--;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bytes_release(&copy);
	return 0;
}

static void expect_same(const char *text, size_t size)
{
	struct slot_file *got = NULL;
	struct config_file config_got;
	struct err err = { 0 };
	size_t count = 0;

	if (recovery_decode(text, size, &config_got, &got, &count, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(count, 2);
	assert_memory_equal(&config_got, &config, sizeof(config));
	assert_memory_equal(got, slots, 2 * sizeof(*slots));
	free(got);
}

static void expect_wrong(const char *text, size_t size, int code,
			 const char *words)
{
	struct slot_file *got = NULL;
	struct config_file config_got;
	struct err err = { 0 };
	size_t count = 77;
	int r = recovery_decode(text, size, &config_got, &got, &count, &err);

	if (r != code || !strstr(err.text, words))
		fail_msg("%d '%s' instead of %d '%s'", r, err.text, code,
			 words);
	assert_null(got);
	assert_int_equal(count, 77);
}

static void test_form(void **state)
{
	const char *text = (const char *)copy.data;
	unsigned lines = 0;

	(void)state;
	for (size_t i = 0; i < copy.size; i++)
		lines += text[i] == '\n';
	assert_int_equal(lines, 1 + 8 + 2 * 21 + 1);
	assert_int_equal(strncmp(text, "vmsnap recovery 1\n0.1: 5653434f ", 32),
			 0);
	assert_non_null(strstr(text, "\n1.1: 56534b45 59534c54 01000000 "));
	assert_non_null(strstr(text, "\n2.21: "));
	assert_string_equal(text + copy.size - 6, "end 2\n");
	expect_same(text, copy.size);
}

static void test_check_digits(void **state)
{
	uint8_t message[20] = { 1, 0, 2, 0 };
	char line[64];

	(void)state;
	memcpy(message + 4, (uint8_t *)&slots[0] + 16, 16);
	snprintf(line, sizeof(line),
		 " %04x\n1.3: ", (unsigned)(XXH3_64bits(message, 20) & 0xffff));
	assert_non_null(strstr((const char *)copy.data, line));
}

static void test_typed(void **state)
{
	char *typed = malloc(4 * copy.size);
	size_t size = 0;

	(void)state;
	assert_non_null(typed);
	/* Upper case, blanks, CR, comments, empty lines, no last newline. */
	size += (size_t)sprintf(typed, "# copied by hand\r\n\r\n  vmsnap "
				       "recovery 1 \r\n");
	for (size_t i = 18; i + 1 < copy.size; i++) {
		char c = (char)copy.data[i];

		if (i + 7 > copy.size) {
			typed[size++] = c;
		} else if (c == '\n') {
			memcpy(typed + size, "\t\r\n\n # x\n\t", 11);
			size += 10;
		} else {
			typed[size++] = (char)toupper(c);
		}
	}
	expect_same(typed, size);
	free(typed);
}

static void test_each_digit(void **state)
{
	char *text = malloc(copy.size);
	char *first = strchr((char *)copy.data, '\n') + 1;

	(void)state;
	assert_non_null(text);
	for (size_t i = (size_t)(first - (char *)copy.data); i < copy.size - 1;
	     i += 3) {
		struct slot_file *got = NULL;
		struct config_file config_got;
		struct err err = { 0 };
		char where[32];
		unsigned line = 1;
		size_t count;

		memcpy(text, copy.data, copy.size);
		if (text[i] == ' ' || text[i] == '\n')
			continue;
		for (size_t j = 0; j < i; j++)
			line += text[j] == '\n';
		text[i] = text[i] == '0' ? '1' : '0';
		snprintf(where, sizeof(where), "line %u:", line);
		assert_int_equal(recovery_decode(text, copy.size, &config_got,
						 &got, &count, &err),
				 -EBADMSG);
		if (!strstr(err.text, where))
			fail_msg("'%s' lacks '%s'", err.text, where);
	}
	free(text);
}

static void test_cut_short(void **state)
{
	(void)state;
	for (size_t size = 0; size < copy.size - 1; size += 7)
		expect_wrong((char *)copy.data, size, -EBADMSG,
			     "recovery copy, line");
	expect_wrong(NULL, 0, -EBADMSG, "vmsnap recovery 1");
}

/* The copy with `from` replaced by `to`, once. */
static void expect_replaced(const char *from, const char *to, int code,
			    const char *words)
{
	const char *text = (const char *)copy.data, *at = strstr(text, from);
	char *changed = malloc(copy.size + strlen(to) + 1);

	assert_non_null(at);
	assert_non_null(changed);
	sprintf(changed, "%.*s%s%s", (int)(at - text), text, to,
		at + strlen(from));
	expect_wrong(changed, strlen(changed), code, words);
	free(changed);
}

static void test_structure(void **state)
{
	(void)state;
	expect_replaced("recovery 1", "recovery 2", -EOPNOTSUPP, "line 1:");
	expect_replaced("vmsnap", "vmsnop", -EBADMSG, "line 1:");
	expect_replaced("\n0.1:", "\n0.2:", -EBADMSG, "'0.1:' should");
	expect_replaced("\n0.1:", "\n", -EBADMSG, "'0.1:' should");
	expect_replaced("\n2.1:", "\n3.1:", -EBADMSG, "'2.1:' should");
	expect_replaced("end 2", "end 3", -EBADMSG, "'3.1:' should");
	expect_replaced("end 2\n", "", -EBADMSG, "'3.1:' is missing");
	expect_replaced("end 2\n", "end 2\nmore\n", -EBADMSG, "follows");
	expect_replaced("0.1: 5653434f", "0.1: 5653434g", -EBADMSG, "column");
	expect_replaced("0.1: 5653434f", "0.1: 5653434", -EBADMSG,
			"35 hex digits instead of 36");
	expect_replaced("0.1: 5653434f", "0.1: 5653434f0", -EBADMSG,
			"37 hex digits instead of 36");
}

static void expect_encoded(const struct config_file *c,
			   const struct slot_file *s, size_t count,
			   const char *words)
{
	struct bytes text = { 0 };

	assert_int_equal(recovery_encode(c, s, count, &text, NULL), 0);
	expect_wrong((char *)text.data, text.size, -EBADMSG, words);
	bytes_release(&text);
}

static void test_objects_are_checked(void **state)
{
	struct config_file broken = config;
	struct slot_file twice[2] = { slots[0], slots[0] };

	(void)state;
	broken.check.b[0] ^= 1;
	expect_encoded(&broken, slots, 1, "'config' at 88");
	expect_encoded(&config, slots, 3, "another store");
	expect_encoded(&config, twice, 2, "twice");
	twice[1].check.b[0] ^= 1;
	expect_encoded(&config, twice, 2, "checksum");
}

static void test_limits(void **state)
{
	struct slot_file *many = calloc(257, sizeof(*many)), *got = NULL;
	struct config_file config_got;
	struct bytes text = { 0 };
	struct masters masters;
	size_t count;

	(void)state;
	assert_non_null(many);
	assert_int_equal(masters_make(&masters, NULL), 0);
	for (size_t i = 0; i < 257; i++)
		assert_int_equal(slot_make(&many[i], &config.store, &masters,
					   NULL, 0, NULL, NULL, NULL),
				 0);
	assert_int_equal(recovery_encode(&config, many, 0, &text, NULL),
			 -EINVAL);
	assert_int_equal(recovery_encode(&config, many, 257, &text, NULL),
			 -EINVAL);
	assert_int_equal(text.size, 0);
	assert_int_equal(recovery_encode(&config, many, 256, &text, NULL), 0);
	assert_int_equal(recovery_decode((char *)text.data, text.size,
					 &config_got, &got, &count, NULL),
			 0);
	assert_int_equal(count, 256);
	assert_memory_equal(got, many, 256 * sizeof(*many));
	free(got);
	assert_non_null(bytes_extend(&text, 1 << 20, NULL));
	expect_wrong((char *)text.data, text.size, -EFBIG, "too many");
	bytes_release(&text);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_check_digits),
		cmocka_unit_test(test_typed),
		cmocka_unit_test(test_each_digit),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_objects_are_checked),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
