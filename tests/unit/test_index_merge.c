/* SPDX-License-Identifier: Apache-2.0 */
/* Merges keep everything, whatever fails or vanishes meanwhile. */
#include "tests/unit/index_fixture.h"

static int count_pack(void *arg, const struct table_pack *pack)
{
	(void)pack;
	return ++*(unsigned *)arg > 1000;
}

static int count_entry(void *arg, const struct id *pack,
		       const struct entry *entry, struct err *err)
{
	(void)pack;
	(void)entry;
	(void)err;
	++*(unsigned *)arg;
	return 0;
}

/* Far more flushes than tables that may stay. */
static void test_merge(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f);
	unsigned n, packs = 0, entries = 0;

	for (n = 0; n < 40; n++) {
		add_pack(index, n, 50 + 40 * n);
		flush(f, index);
		assert_in_range(index_table_count(index), 1, 9);
		assert_int_equal(mem_backend_count(f->backend, "tables/"),
				 index_table_count(index));
	}
	for (n = 0; n < 40; n++)
		expect_found(f, index, n, 50 + 40 * n);
	assert_int_equal(index_packs(index, count_pack, &packs), 0);
	assert_int_equal(packs, 40);
	assert_int_equal(
		index_each(index, f->sealer, count_entry, &entries, NULL), 0);
	assert_int_equal(entries, index_entry_count(index));
	assert_int_equal(entries, 40 * 50 + 40 * 39 * 20);
	assert_int_equal(
		index_check_tables(index, f->sealer, note_damaged, f, NULL), 0);
	index_close(index);
	index = open_index(f);
	for (n = 0; n < 40; n++)
		expect_found(f, index, n, 50 + 40 * n);
	index_close(index);
}

/* The same id in two packs: the copy whose pack stays survives a merge. */
static void test_merge_condemned(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f);
	struct id bad = rig_id(0, UINT64_MAX), good = rig_id(77, UINT64_MAX);
	struct table_pack line = rig_pack(&good, 1);
	struct id id = rig_id(0, 1);
	struct entry entry = rig_entry(&id, 0, 0);
	struct place place;
	unsigned n;

	add_pack(index, 0, 20);
	flush(f, index);
	assert_int_equal(index_set_condemned(index, &bad, 1, NULL), 0);
	assert_int_equal(index_claim(index, f->sealer, &id, NULL), 1);
	assert_int_equal(index_add_pack(index, &good, le64_get(line.size_bytes),
					&entry, 1, NULL),
			 0);
	for (n = 1; n < 5; n++) {
		flush(f, index);
		add_pack(index, n, 20);
	}
	assert_int_equal(index_table_count(index), 1);
	assert_int_equal(
		index_find_copy(index, f->sealer, &id, 0, &place, NULL), 1);
	assert_true(id_equal(&place.pack, &good));
	assert_int_equal(
		index_find_copy(index, f->sealer, &id, 1, &place, NULL), 0);
	assert_true(index_names_pack(index, &bad));
	index_close(index);
}

/* Another index merges and deletes the tables that this one has open. */
static void test_vanish(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f), *other;
	unsigned n, entries = 0;

	for (n = 0; n < 4; n++) {
		add_pack(index, n, 500);
		flush(f, index);
	}
	other = open_index(f);
	add_pack(other, 4, 500);
	flush(f, other);
	assert_int_equal(index_table_count(other), 1);
	assert_int_equal(index_table_count(index), 4);
	for (n = 0; n < 5; n++)
		expect_found(f, index, n, n < 4 ? 500 : 1);
	assert_int_equal(index_table_count(index), 1);
	for (n = 5; n < 9; n++) {
		add_pack(other, n, 500);
		flush(f, other);
	}
	assert_int_equal(
		index_each(index, f->sealer, count_entry, &entries, NULL), 0);
	assert_true(entries >= 4500);
	assert_int_equal(claim(f, index, 8, 2), 0);
	index_close(other);
	index_close(index);
}

/* Any one operation of a flush with a merge fails: nothing is lost. */
static void test_flush_fails(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f);
	unsigned seed = 0, nth, failed = 0;

	for (nth = 1; nth < 60; nth++) {
		unsigned n;

		for (n = 0; n < 5; n++) {
			add_pack(index, seed++, 30);
			if (n == 4)
				mem_backend_fail(f->backend, nth, -EIO);
			failed += index_flush(index, f->sealer, NULL) < 0;
		}
		mem_backend_fail(f->backend, 0, 0);
		assert_int_equal(mem_backend_open_puts(f->backend), 0);
		for (n = seed - 5; n < seed; n++)
			expect_found(f, index, n, 30);
	}
	assert_true(failed > 3);
	flush(f, index);
	index_close(index);
	index = open_index(f);
	for (nth = 0; nth < seed; nth++)
		expect_found(f, index, nth, 30);
	index_close(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_merge),
		FIXTURE_TEST(test_merge_condemned),
		FIXTURE_TEST(test_vanish),
		FIXTURE_TEST(test_flush_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
