/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of awkward sizes: all is found, and each wrong byte is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/store/table_private.h"
#include "tests/rig/forge.h"
#include "tests/rig/mem_backend.h"
#include "tests/rig/table_rig.h"

static const uint64_t sizes[] = { 1, 84, 85, 86, 1360, 1361, 50000 };

struct fixture {
	struct backend *backend;
	struct sealer *sealer;
	struct block_cache *cache;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->backend = mem_backend_new();
	f->sealer = sealer_new(NULL);
	f->cache = block_cache_new(1 << 20, NULL);
	*state = f;
	return f->sealer && f->cache ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	block_cache_free(f->cache);
	sealer_free(f->sealer);
	backend_close(f->backend);
	free(f);
	return 0;
}

static void look_up_all(struct fixture *f, struct table *table, uint64_t seed,
			uint64_t count)
{
	struct entry entry;
	struct id id;
	uint64_t n;

	for (n = 0; n < count; n++) {
		id = rig_id(seed, n);
		assert_int_equal(
			table_find(table, f->sealer, &id, &entry, NULL), 1);
		assert_true(id_equal(&entry.id, &id));
		assert_int_equal(le32_get(entry.offset), 80 + n * 116);
	}
	for (n = 0; n < 2000; n++) {
		id = rig_id(seed + 1000, n);
		assert_int_equal(
			table_find(table, f->sealer, &id, &entry, NULL), 0);
	}
	memset(id.b, 0, ID_SIZE);
	assert_int_equal(table_find(table, f->sealer, &id, &entry, NULL), 0);
	memset(id.b, 0xff, ID_SIZE);
	assert_int_equal(table_find(table, f->sealer, &id, &entry, NULL), 0);
}

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	size_t n, budget;

	for (n = 0; n < ARRAY_SIZE(sizes); n++) {
		struct id id =
			rig_table(f->backend, f->sealer, n, sizes[n], NULL);

		for (budget = 0; budget <= 1 << 20; budget += 1 << 20) {
			struct table *table = rig_open(f->backend, f->sealer,
						       f->cache, &id, budget);
			struct err err = { 0 };

			assert_int_equal(table_entries(table), sizes[n]);
			assert_int_equal(table_filter_bytes(table) > 0,
					 budget > 0);
			assert_int_equal(table_pack_count(table), 1);
			look_up_all(f, table, n, sizes[n]);
			if (table_check(table, f->sealer, &err) < 0)
				fail_msg("%s", err.text);
			table_close(table);
		}
	}
}

static void test_stream(void **state)
{
	struct fixture *f = *state;
	struct id id = rig_table(f->backend, f->sealer, 7, 6000, NULL);
	struct table *table = rig_open(f->backend, f->sealer, NULL, &id, 0);
	struct table_stream *stream;
	struct id last = { { 0 } };
	struct entry entry;
	unsigned count = 0;

	assert_int_equal(table_stream_open(&stream, table, NULL), 0);
	while (table_stream_next(stream, f->sealer, &entry, NULL) == 1) {
		assert_true(id_compare(&last, &entry.id) < 0);
		last = entry.id;
		count++;
	}
	assert_int_equal(table_stream_next(stream, f->sealer, &entry, NULL), 0);
	assert_int_equal(count, 6000);
	table_stream_close(stream);
	table_close(table);
}

/* Ids that share their first eight bytes over several groups of blocks. */
static void test_same_prefix(void **state)
{
	struct fixture *f = *state;
	struct id pack_id = rig_id(1, 1), id = { { 0 } }, table_id;
	struct table_pack pack = rig_pack(&pack_id, 6000);
	struct table_writer *writer;
	struct table *table;
	struct entry entry;
	uint32_t n;

	assert_int_equal(table_writer_open(&writer, f->backend, &rig_store,
					   rig_key, 6000, NULL),
			 0);
	assert_int_equal(table_writer_add_pack(writer, &pack, NULL), 0);
	for (n = 0; n < 6000; n++) {
		be64_put(id.b, n < 100 ? 5 : n < 5900 ? 77 : UINT64_MAX);
		be64_put(id.b + 24, 2 * n + 2);
		entry = rig_entry(&id, 0, n);
		assert_int_equal(
			table_writer_add(writer, f->sealer, &entry, NULL), 0);
	}
	assert_int_equal(
		table_writer_finish(writer, f->sealer, &table_id, NULL), 0);
	table = rig_open(f->backend, f->sealer, f->cache, &table_id, 0);
	for (n = 0; n < 6000; n++) {
		be64_put(id.b, n < 100 ? 5 : n < 5900 ? 77 : UINT64_MAX);
		be64_put(id.b + 24, 2 * n + 2);
		assert_int_equal(
			table_find(table, f->sealer, &id, &entry, NULL), 1);
		be64_put(id.b + 24, 2 * n + 3);
		assert_int_equal(
			table_find(table, f->sealer, &id, &entry, NULL), 0);
	}
	assert_int_equal(table_check(table, f->sealer, NULL), 0);
	table_close(table);
}

/* Every section's first, middle and last byte: opening or the check says so. */
static void test_flips(void **state)
{
	struct fixture *f = *state;
	struct id replaced = rig_id(3, 3);
	struct id id = rig_table(f->backend, f->sealer, 9, 3000, &replaced);
	const struct table_open how = {
		.backend = f->backend,
		.store = &rig_store,
		.data_key = rig_key,
		.filter_budget_bytes = 1 << 20,
	};
	char name[OBJECT_NAME_MAX];
	size_t size, at, step = 61, refused_open = 0, refused_check = 0;
	struct table *table;

	table_name(name, &id);
	size = mem_backend_object_size(f->backend, name);
	for (at = 0; at < size; at += at < 80 || at + 400 > size ? 1 : step) {
		struct err err = { 0 };
		int r;

		assert_true(mem_backend_flip(f->backend, name, at, 0x10));
		r = table_open(&table, &how, f->sealer, &id, &err);
		if (r == 0) {
			r = table_check(table, f->sealer, &err);
			table_close(table);
			refused_check++;
			assert_int_equal(r, -EBADMSG);
		} else {
			assert_true(r == -EBADMSG || r == -EOPNOTSUPP);
			refused_open++;
		}
		assert_non_null(strstr(err.text, "tables/"));
		assert_true(mem_backend_flip(f->backend, name, at, 0x10));
	}
	assert_true(refused_open > 300 && refused_check > 100);
	assert_int_equal(table_open(&table, &how, f->sealer, &id, NULL), 0);
	assert_int_equal(table_check(table, f->sealer, NULL), 0);
	table_close(table);
}

static void test_cut_short(void **state)
{
	struct fixture *f = *state;
	struct id id = rig_table(f->backend, f->sealer, 2, 200, NULL);
	const struct table_open how = {
		.backend = f->backend,
		.store = &rig_store,
		.data_key = rig_key,
	};
	char name[OBJECT_NAME_MAX];
	autofree uint8_t *whole = NULL;
	struct table *table;
	size_t size, cut;

	table_name(name, &id);
	whole = mem_backend_copy(f->backend, name, &size);
	for (cut = 0; cut < size; cut += cut < 200 ? 1 : 97) {
		mem_backend_set(f->backend, name, whole, cut);
		assert_int_equal(table_open(&table, &how, f->sealer, &id, NULL),
				 -EBADMSG);
	}
	mem_backend_remove(f->backend, name);
	assert_int_equal(table_open(&table, &how, f->sealer, &id, NULL),
			 -ENOENT);
}

/* The bytes of one table under the name of another, and another store. */
static void test_swapped(void **state)
{
	struct fixture *f = *state;
	struct id a = rig_table(f->backend, f->sealer, 1, 100, NULL);
	struct id b = rig_table(f->backend, f->sealer, 2, 100, NULL);
	struct store_id other = rig_store;
	struct table_open how = {
		.backend = f->backend,
		.store = &rig_store,
		.data_key = rig_key,
	};
	char name[OBJECT_NAME_MAX];
	autofree uint8_t *data = NULL;
	struct table *table;
	size_t size;

	table_name(name, &a);
	data = mem_backend_copy(f->backend, name, &size);
	table_name(name, &b);
	mem_backend_set(f->backend, name, data, size);
	assert_int_equal(table_open(&table, &how, f->sealer, &b, NULL),
			 -EBADMSG);
	other.b[3] ^= 1;
	how.store = &other;
	assert_int_equal(table_open(&table, &how, f->sealer, &a, NULL),
			 -EBADMSG);
}

/* A table of one entry, right but for its filter, fence, the gap, or a pack
 * that is listed more than once. */
static int forge_and_check(struct fixture *f, uint8_t filter_and,
			   uint64_t fence_add, uint8_t gap, unsigned packs)
{
	struct id id = rig_id(8, 8), pack_id = rig_id(8, 9);
	struct table_pack pack = rig_pack(&pack_id, 1);
	struct table_pack listed[2] = { pack, pack };
	struct table_block block = { .entries[0] = rig_entry(&id, 0, 0) };
	le64 fence = le64_make(be64_get(id.b) + fence_add);
	struct filter_block filter = { { 0 } };
	const struct {
		const void *data;
		size_t size;
	} sections[SECTION_COUNT] = { { &fence, sizeof(fence) },
				      { listed, packs * sizeof(pack) },
				      { NULL, 0 },
				      { &filter, sizeof(filter) } };
	struct table_footer footer = { .entries = le64_make(1),
				       .blocks = le64_make(1) };
	struct forge forge = { 0 };
	struct table *table;
	unsigned n;
	int r;

	filter_block_add(&filter, &id);
	for (n = 0; n < sizeof(filter); n++)
		((uint8_t *)&filter)[n] &= filter_and;
	forge_begin(&forge, OBJECT_TABLE, &id);
	forge_zeros(&forge, TABLE_BLOCK_SIZE - sizeof(forge.header));
	forge.object.data[1000] = gap;
	forge_seal(&forge, &block, sizeof(block), false);
	for (n = 0; n < SECTION_COUNT; n++) {
		footer.sections[n].offset = le64_make(forge.object.size);
		footer.sections[n].count =
			le64_make(sections[n].size / table_section_width(n));
		forge_section(&forge, sections[n].data, sections[n].size);
	}
	forge_seal(&forge, &footer, sizeof(footer), true);
	forge_trailer(&forge, 0, sizeof(footer) + SEAL_TAG_SIZE);
	mem_backend_set(f->backend, forge.name, forge.object.data,
			forge.object.size);
	table = rig_open(f->backend, f->sealer, NULL, &id, 0);
	r = table_check(table, f->sealer, NULL);
	table_close(table);
	bytes_release(&forge.object);
	sealer_free(forge.sealer);
	return r;
}

static void test_check_forged(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(forge_and_check(f, 0xff, 0, 0, 1), 0);
	assert_int_equal(forge_and_check(f, 0x00, 0, 0, 1), -EBADMSG);
	assert_int_equal(forge_and_check(f, 0xff, 1, 0, 1), -EBADMSG);
	assert_int_equal(forge_and_check(f, 0xff, 0, 1, 1), -EBADMSG);
	assert_int_equal(forge_and_check(f, 0xff, 0, 0, 2), -EBADMSG);
}

static void test_writer_refuses(void **state)
{
	struct fixture *f = *state;
	struct id pack_id = rig_id(1, 1), a = { { 1 } }, b = { { 2 } }, out;
	struct table_pack pack = rig_pack(&pack_id, 2);
	struct entry first = rig_entry(&a, 0, 0), second = rig_entry(&b, 0, 1);
	struct entry far = rig_entry(&b, 0, 2), other = rig_entry(&b, 1, 1);
	struct table_writer *writer;

	assert_int_equal(table_writer_open(&writer, f->backend, &rig_store,
					   rig_key, 2, NULL),
			 0);
	assert_int_equal(table_writer_add(writer, f->sealer, &first, NULL),
			 -EINVAL);
	assert_int_equal(table_writer_add_pack(writer, &pack, NULL), 0);
	assert_int_equal(table_writer_add(writer, f->sealer, &first, NULL), 0);
	assert_int_equal(table_writer_add(writer, f->sealer, &first, NULL),
			 -EINVAL);
	assert_int_equal(table_writer_add(writer, f->sealer, &far, NULL),
			 -EINVAL);
	assert_int_equal(table_writer_add(writer, f->sealer, &other, NULL),
			 -EINVAL);
	assert_int_equal(table_writer_add(writer, f->sealer, &second, NULL), 0);
	b.b[0] = 3;
	second = rig_entry(&b, 0, 1);
	assert_int_equal(table_writer_add(writer, f->sealer, &second, NULL),
			 -EINVAL);
	table_writer_abort(writer);

	assert_int_equal(table_writer_open(&writer, f->backend, &rig_store,
					   rig_key, 2, NULL),
			 0);
	assert_int_equal(table_writer_finish(writer, f->sealer, &out, NULL),
			 -EINVAL);
	assert_int_equal(mem_backend_open_puts(f->backend), 0);
	assert_int_equal(mem_backend_count(f->backend, "tables/"), 0);
}

/* Each operation of a writer fails once: an error, and nothing is left. */
static void test_writer_fails(void **state)
{
	struct fixture *f = *state;
	struct id pack_id = rig_id(1, 1), a = { { 1 } }, out;
	struct table_pack pack = rig_pack(&pack_id, 2);
	struct entry entry = rig_entry(&a, 0, 0);
	unsigned long nth;

	for (nth = 1; nth <= 3; nth++) {
		struct table_writer *writer = NULL;
		int64_t r;

		mem_backend_fail(f->backend, nth, -EIO);
		r = table_writer_open(&writer, f->backend, &rig_store, rig_key,
				      2, NULL);
		if (r == 0)
			r = table_writer_add_pack(writer, &pack, NULL);
		if (r == 0)
			r = table_writer_add(writer, f->sealer, &entry, NULL);
		if (r == 0)
			r = table_writer_finish(writer, f->sealer, &out, NULL);
		assert_int_equal(r, -EIO);
		assert_int_equal(mem_backend_open_puts(f->backend), 0);
		assert_int_equal(mem_backend_count(f->backend, "tables/"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_prefix, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_short, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_swapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_forged, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_writer_refuses, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_writer_fails, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
