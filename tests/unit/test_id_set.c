/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of ids and of fingerprints: growth, the null id, marks, zero. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/store/id_set.h"
#include "tests/rig/table_rig.h"
#include "vmsnap/print_set.h"

#define COUNT 20000u

static void test_ids(void **state)
{
	struct id_set set = { 0 };
	struct id null = { { 0 } }, id;

	(void)state;
	id = rig_id(1, 0);
	assert_false(id_set_has(&set, &id));
	assert_false(id_set_has(&set, &null));
	for (unsigned n = 0; n < COUNT; n++) {
		id = rig_id(1, n);
		assert_int_equal(id_set_add(&set, &id, NULL), 1);
		assert_int_equal(id_set_add(&set, &id, NULL), 0);
	}
	assert_int_equal(set.count, COUNT);
	for (unsigned n = 0; n < COUNT; n++) {
		id = rig_id(1, n);
		assert_true(id_set_has(&set, &id));
		id.b[31] ^= 1; /* one bit, and not of the hash */
		assert_false(id_set_has(&set, &id));
	}
	assert_false(id_set_has(&set, &null));
	assert_int_equal(id_set_add(&set, &null, NULL), 1);
	assert_int_equal(id_set_add(&set, &null, NULL), 0);
	assert_true(id_set_has(&set, &null));
	id_set_release(&set);
	assert_false(id_set_has(&set, &null));
	assert_int_equal(set.capacity, 0);
}

static uint64_t print(unsigned n)
{
	struct id id = rig_id(2, n);

	return be64_get(id.b);
}

static void prints_fill(struct print_set *set)
{
	for (unsigned n = 0; n < COUNT; n++) {
		assert_int_equal(print_set_add(set, print(n), NULL), 1);
		assert_int_equal(print_set_add(set, print(n), NULL), 0);
	}
	assert_int_equal(set->count, COUNT);
	for (unsigned n = 0; n < COUNT; n++) {
		assert_true(print_set_has(set, print(n)));
		assert_false(print_set_has(set, print(n + COUNT)));
	}
}

static void test_prints(void **state)
{
	struct print_set set = { 0 };
	size_t capacity;

	(void)state;
	assert_false(print_set_has(&set, 1));
	assert_int_equal(print_set_mark(&set, 1), -ENOENT);
	prints_fill(&set);
	print_set_release(&set);
	assert_int_equal(print_set_reserve(&set, COUNT, NULL), 0);
	capacity = set.capacity;
	assert_true(capacity * sizeof(uint64_t) <= 11 * COUNT);
	prints_fill(&set);
	assert_int_equal(set.capacity, capacity); /* it was enough */
	print_set_release(&set);
	assert_int_equal(print_set_reserve(&set, UINT64_MAX, NULL), -ENOMEM);
	assert_false(print_set_has(&set, 1));
}

/* A mark stays while the set grows, and a mark is no other print. */
static void test_marks(void **state)
{
	struct print_set set = { 0 };

	(void)state;
	for (unsigned n = 0; n < COUNT; n++) {
		assert_int_equal(print_set_add(&set, print(n), NULL), 1);
		if (n % 3 == 0)
			assert_int_equal(print_set_mark(&set, print(n)), 1);
	}
	for (unsigned n = 0; n < COUNT; n++) {
		assert_true(print_set_has(&set, print(n)));
		assert_int_equal(print_set_add(&set, print(n), NULL), 0);
		assert_int_equal(print_set_mark(&set, print(n)), n % 3 != 0);
		assert_int_equal(print_set_mark(&set, print(n)), 0);
	}
	assert_int_equal(print_set_mark(&set, print(COUNT)), -ENOENT);
	assert_int_equal(set.count, COUNT);
	print_set_release(&set);
}

/* Neighbours at both ends of the table, and the values that are special. */
static void test_edges(void **state)
{
	static const uint64_t prints[] = {
		0, 2, 3, (1ULL << 63) - 1, (1ULL << 63) - 2, (1ULL << 63) - 3,
	};
	struct print_set set = { 0 };

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(prints); n++)
		assert_int_equal(print_set_add(&set, prints[n], NULL), 1);
	assert_int_equal(print_set_add(&set, 1ULL << 63, NULL), 0); /* as 0 */
	for (size_t n = 0; n < ARRAY_SIZE(prints); n++) {
		assert_true(print_set_has(&set, prints[n]));
		assert_int_equal(print_set_mark(&set, prints[n]), 1);
	}
	assert_false(print_set_has(&set, 4));
	assert_false(print_set_has(&set, (1ULL << 63) - 4));
	print_set_release(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_prints),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
