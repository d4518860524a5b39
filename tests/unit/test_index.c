/* SPDX-License-Identifier: Apache-2.0 */
/* The index: claims, condemned packs, damage, tables that vanish. */
#include "tests/unit/index_fixture.h"

static void test_claim(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f);
	struct id pack = rig_id(1, UINT64_MAX), null = { { 0 } };

	assert_int_equal(index_table_count(index), 0);
	assert_int_equal(claim(f, index, 1, 0), 1);
	assert_int_equal(claim(f, index, 1, 0), 0);
	assert_int_equal(find(f, index, 1, 0), 0);
	assert_int_equal(index_claim(index, f->sealer, &null, NULL), -EINVAL);
	flush(f, index); /* only claimed: no table */
	assert_int_equal(mem_backend_count(f->backend, "tables/"), 0);
	assert_false(index_names_pack(index, &pack));

	add_pack(index, 1, 300);
	expect_found(f, index, 1, 300);
	assert_true(index_relied_on(index, &pack)); /* its own */
	assert_int_equal(claim(f, index, 1, 5), 0);
	assert_int_equal(claim(f, index, 2, 0), 1);
	flush(f, index);
	assert_int_equal(mem_backend_count(f->backend, "tables/"), 1);
	assert_int_equal(index->pending.added, 0);
	assert_int_equal(index->pending.used, 1); /* (2, 0) is claimed */
	assert_int_equal(claim(f, index, 2, 0), 0);
	expect_found(f, index, 1, 300);
	index_close(index);

	index = open_index(f);
	assert_int_equal(index_entry_count(index), 300);
	assert_false(index_relied_on(index, &pack));
	expect_found(f, index, 1, 300);
	assert_int_equal(claim(f, index, 1, 299), 0);
	assert_true(index_relied_on(index, &pack));
	assert_int_equal(claim(f, index, 2, 0), 1);
	index_close(index);
}

static void test_condemned(void **state)
{
	struct fixture *f = *state;
	struct id pack = rig_id(1, UINT64_MAX), id = rig_id(1, 3);
	struct id other = rig_id(3, UINT64_MAX);
	struct entry entry = rig_entry(&id, 0, 0);
	struct table_pack line = rig_pack(&other, 1);
	struct index *index = open_index(f);
	struct place place;

	add_pack(index, 1, 10);
	assert_false(index_relied_on(index, &pack)); /* adopted, not asked */
	flush(f, index);
	assert_int_equal(index_set_condemned(index, &pack, 1, NULL), 0);
	assert_int_equal(find(f, index, 1, 3), 1);
	assert_int_equal(claim(f, index, 1, 3), 1);
	assert_int_equal(claim(f, index, 1, 3), 0);
	assert_false(index_relied_on(index, &pack));
	assert_int_equal(index_add_pack(index, &other,
					le64_get(line.size_bytes), &entry, 1,
					NULL),
			 0);
	flush(f, index);
	assert_int_equal(claim(f, index, 1, 3), 0);
	assert_true(index_relied_on(index, &other));
	/* Both copies, each once. */
	assert_int_equal(
		index_find_copy(index, f->sealer, &id, 0, &place, NULL), 1);
	assert_int_equal(
		index_find_copy(index, f->sealer, &id, 1, &place, NULL), 1);
	assert_int_equal(
		index_find_copy(index, f->sealer, &id, 2, &place, NULL), 0);
	assert_int_equal(index_set_condemned(index, NULL, 0, NULL), 0);
	assert_int_equal(claim(f, index, 1, 4), 0);
	assert_true(index_relied_on(index, &pack));
	/* Pending in a condemned pack. */
	add_pack(index, 5, 10);
	pack = rig_id(5, UINT64_MAX);
	assert_int_equal(index_set_condemned(index, &pack, 1, NULL), 0);
	assert_int_equal(claim(f, index, 5, 1), 1);
	assert_int_equal(claim(f, index, 5, 1), 0);
	index_close(index);
}

struct vanisher {
	struct fixture *f;
	struct id replaced;
	bool done;
};

/* Between the listing and the first size: merged by someone. */
static void vanish(void *arg, enum mem_op op, const char *name)
{
	struct vanisher *v = arg;
	char old[OBJECT_NAME_MAX];

	(void)name;
	if (op != MEM_SIZE || v->done)
		return;
	v->done = true;
	rig_table(v->f->backend, v->f->sealer, 1, 50, &v->replaced);
	table_name(old, &v->replaced);
	assert_true(mem_backend_remove(v->f->backend, old));
}

static void test_vanish_in_open(void **state)
{
	struct fixture *f = *state;
	struct vanisher v = { .f = f };
	struct index *index;

	v.replaced = rig_table(f->backend, f->sealer, 1, 50, NULL);
	mem_backend_set_hook(f->backend, vanish, &v);
	index = open_index(f);
	assert_true(v.done);
	assert_int_equal(index_table_count(index), 1);
	expect_found(f, index, 1, 50);
	index_close(index);
	mem_backend_set_hook(f->backend, NULL, NULL);
}

static void test_hidden(void **state)
{
	struct fixture *f = *state;
	struct id old = rig_table(f->backend, f->sealer, 1, 50, NULL);
	char name[OBJECT_NAME_MAX];
	struct index *index;

	rig_table(f->backend, f->sealer, 1, 60, &old);
	table_name(name, &old);
	mem_backend_flip(f->backend, name, 90, 1); /* hidden: no matter */
	mem_backend_flip(f->backend, name, 9, 1);
	mem_backend_set(f->backend, "tables/.tmp-x", "x", 1);
	index = open_index(f);
	assert_int_equal(index_entry_count(index), 60);
	flush(f, index); /* clears it away */
	assert_int_equal(mem_backend_count(f->backend, "tables/"), 2);
	index_close(index);
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	struct id bad = rig_table(f->backend, f->sealer, 1, 5000, NULL);
	char name[OBJECT_NAME_MAX];
	struct index *index = NULL;
	struct err err = { 0 };
	unsigned n, failed = 0;
	size_t size;

	table_name(name, &bad);
	size = mem_backend_object_size(f->backend, name);
	mem_backend_flip(f->backend, name, size - 100, 1);
	for (n = 1; n <= 2; n++) {
		assert_int_equal(try_open(f, n == 2, &index, &err), 0);
		assert_int_equal(f->damaged, n);
		assert_int_equal(index_table_count(index), 0);
		assert_int_equal(index_load(index, f->sealer, &err), 0);
		assert_int_equal(f->damaged, n); /* told once */
		index_close(index);
	}
	mem_backend_flip(f->backend, name, 8, 3); /* another version */
	assert_int_equal(try_open(f, false, &index, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, name));
	assert_int_equal(try_open(f, true, &index, &err), 0);
	assert_int_equal(f->damaged, 3);
	index_close(index);
	mem_backend_flip(f->backend, name, 8, 3);

	/* One block: its ids fail, are claimed anew, and merges leave it. */
	mem_backend_flip(f->backend, name, size - 100, 1);
	mem_backend_flip(f->backend, name, 4096 * 3 + 5, 1);
	index = open_index(f);
	for (n = 0; n < 5000; n++)
		failed += find(f, index, 1, n) == -EBADMSG;
	/* And some whose search passes by that block. */
	assert_in_range(failed, TABLE_BLOCK_ENTRIES, 2 * TABLE_BLOCK_ENTRIES);
	for (n = 0, failed = 0; n < 5000; n++)
		failed += claim(f, index, 1, n) == 1;
	assert_in_range(failed, TABLE_BLOCK_ENTRIES, 2 * TABLE_BLOCK_ENTRIES);
	assert_int_equal(
		index_check_tables(index, f->sealer, note_damaged, f, NULL), 1);
	for (n = 10; n < 20; n++) {
		add_pack(index, n, 4500);
		flush(f, index);
	}
	assert_int_not_equal(mem_backend_object_size(f->backend, name),
			     SIZE_MAX);
	assert_in_range(index_table_count(index), 2, 6);
	for (n = 10; n < 20; n++)
		expect_found(f, index, n, 4500);
	index_close(index);
}

static void test_wants_flush(void **state)
{
	struct fixture *f = *state;
	struct index *index = open_index(f);
	struct id pack = rig_id(0, 1);
	struct entry entry = { 0 };
	unsigned n;

	for (n = 0; n < 8; n++) {
		assert_false(index_wants_flush(index));
		add_pack(index, n, INDEX_FLUSH_ENTRIES / 8);
	}
	assert_true(index_wants_flush(index));
	flush(f, index);
	assert_false(index_wants_flush(index));
	assert_true(index->pending.capacity <= 1024);
	expect_found(f, index, 3, 1000);
	assert_int_equal(index_add_pack(index, &pack, 1000, &entry, 1, NULL),
			 -EINVAL);
	assert_int_equal(index_add_pack(index, &pack, 1000, &entry, 0, NULL),
			 -EINVAL);
	index_close(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_claim),
		FIXTURE_TEST(test_condemned),
		FIXTURE_TEST(test_vanish_in_open),
		FIXTURE_TEST(test_hidden),
		FIXTURE_TEST(test_damaged),
		FIXTURE_TEST(test_wants_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
