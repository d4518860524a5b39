/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks with a bad copy: told with their place, or read from another one. */
#include "tests/unit/store_fixture.h"

#include "format/store/index_private.h"
#include "format/store/store_private.h"

#define CHUNKS 30

/* Two writers that know nothing of each other store the same chunks. */
static void store_twice(struct fixture *f, struct id ids[CHUNKS], bool twice)
{
	struct fixture other = { .sim = f->sim };

	fixture_open(f, STORE_WRITE);
	if (twice)
		fixture_open(&other, STORE_WRITE);
	for (unsigned n = 0; n < CHUNKS; n++) {
		ids[n] = fixture_put(f, n, NULL);
		if (twice)
			fixture_put(&other, n, NULL);
	}
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	if (twice) {
		fixture_commit(&other, "vm", NULL);
		fixture_close(&other);
	}
}

static void pack_path(const struct fixture_leaves *packs, size_t n,
		      char path[160])
{
	snprintf(path, 160, FIXTURE_PATH "/packs/%.2s/%s", packs->leaf[n],
		 packs->leaf[n]);
}

/* Chunk k of a pack starts here: all are of one size and incompressible. */
static uint64_t place_of(unsigned k)
{
	return sizeof(struct object_header) +
	       k * (uint64_t)(FIXTURE_CHUNK + SEAL_TAG_SIZE);
}

static void test_one_bad_chunk(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, false);
	packs = fixture_list(f, "packs");
	assert_int_equal(packs.count, 1);
	pack_path(&packs, 0, path);
	assert_int_equal(sim_flip(f->sim, path, place_of(4) + 100, 3), 0);
	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]),
				 n == 4 ? -EBADMSG : 0);
	assert_int_equal(fixture_get(f, 4, &ids[4]), -EBADMSG);
	assert_non_null(strstr(f->err.text, packs.leaf[0]));
	assert_non_null(strstr(f->err.text, "offset 16528"));
	assert_int_equal(f->warnings, 0);
}

static void test_other_copy(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, true);
	packs = fixture_list(f, "packs");
	assert_int_equal(packs.count, 2);
	for (unsigned n = 0; n < 2; n++) { /* each pack has bad ones */
		pack_path(&packs, n, path);
		assert_int_equal(sim_flip(f->sim, path, place_of(4 + n), 0), 0);
		assert_int_equal(sim_flip(f->sim, path, place_of(9), 0), 0);
	}
	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]),
				 n == 9 ? -EBADMSG : 0);
	assert_int_equal(f->warnings, 1); /* once, not for each chunk */
	assert_non_null(strstr(f->warning, "vmsnap check"));
}

static void test_missing_pack(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, true);
	packs = fixture_list(f, "packs");
	pack_path(&packs, 0, path);
	must(f, sim_io(f->sim)->ops->unlink(sim_io(f->sim), path, &f->err));
	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
	pack_path(&packs, 1, path);
	must(f, sim_io(f->sim)->ops->unlink(sim_io(f->sim), path, &f->err));
	fixture_close(f);
	fixture_open(f, STORE_READ);
	assert_int_equal(fixture_get(f, 0, &ids[0]), -EBADMSG);
	assert_non_null(strstr(f->err.text, "in pack"));
}

static void unlink_object(struct fixture *f, const char *path)
{
	must(f, sim_io(f->sim)->ops->unlink(sim_io(f->sim), path, &f->err));
}

static void put_range(struct fixture *f, unsigned from, unsigned to,
		      struct id ids[CHUNKS], bool is_new)
{
	struct put_result result;

	for (unsigned n = from; n < to; n++) {
		ids[n] = fixture_put(f, n, &result);
		assert_int_equal(result.is_new, is_new);
	}
}

/* What a lost pack held is stored again by whoever meets it. */
static void test_lost_pack_stored_again(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	fixture_open(f, STORE_WRITE);
	put_range(f, 0, 10, ids, true);
	fixture_commit(f, "vm", NULL);
	packs = fixture_list(f, "packs");
	assert_int_equal(packs.count, 1);
	pack_path(&packs, 0, path);
	put_range(f, 10, CHUNKS, ids, true);
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	unlink_object(f, path);

	for (unsigned turn = 0; turn < 2; turn++) {
		f->warnings = 0;
		fixture_open(f, turn ? STORE_WRITE : STORE_DRY);
		assert_int_equal(f->warnings, 1);
		assert_non_null(strstr(f->warning, packs.leaf[0]));
		put_range(f, 0, 10, ids, true);
		put_range(f, 10, CHUNKS, ids, false);
		fixture_commit(f, "vm", NULL);
		fixture_close(f);
	}
	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
}

/* All packs gone: a file system that is not mounted. */
static void test_all_packs_lost(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	fixture_open(f, STORE_WRITE);
	put_range(f, 0, CHUNKS, ids, true);
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	packs = fixture_list(f, "packs");
	pack_path(&packs, 0, path);
	unlink_object(f, path);
	assert_int_equal(fixture_try_open(f, STORE_WRITE), -EBADMSG);
	assert_non_null(strstr(f->err.text, "mounted"));
	f->store = NULL;
	fixture_open(f, STORE_READ);
}

static void table_path(struct fixture *f, size_t n, char path[160])
{
	struct fixture_leaves tables = fixture_list(f, "tables");

	assert_true(n < tables.count);
	snprintf(path, 160, FIXTURE_PATH "/tables/%s", tables.leaf[n]);
}

/* The packs of a damaged table: asked by a reader, named by the next writer. */
static void test_damaged_table(void **state)
{
	struct fixture *f = *state;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, false);
	table_path(f, 0, path);
	assert_int_equal(sim_flip(f->sim, path, 8192 + 30, 3), 0);
	fixture_open(f, STORE_READ);
	assert_int_equal(f->warnings, 1);
	assert_non_null(strstr(f->warning, "passed over"));
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
	fixture_close(f);
	assert_int_equal(fixture_list(f, "tables").count, 1);

	fixture_open(f, STORE_WRITE);
	put_range(f, 0, CHUNKS, ids, false);
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	assert_int_equal(fixture_list(f, "tables").count, 2);
	unlink_object(f, path); /* as the warning says */
	f->warnings = 0;
	fixture_open(f, STORE_READ);
	assert_int_equal(f->warnings, 0);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
}

/* One block of a table: its packs say what it said. */
static void test_damaged_block(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, false);
	table_path(f, 0, path);
	assert_int_equal(sim_flip(f->sim, path, 4096 + 30, 3), 0);
	fixture_open(f, STORE_READ);
	assert_int_equal(f->warnings, 0);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
	assert_int_equal(f->warnings, 1);
	assert_non_null(strstr(f->warning, "block 0"));
	fixture_close(f);

	/* Without its pack nothing helps, and that is told with the table. */
	packs = fixture_list(f, "packs");
	pack_path(&packs, 0, path);
	unlink_object(f, path);
	fixture_open(f, STORE_READ);
	assert_int_equal(fixture_get(f, 0, &ids[0]), -EBADMSG);
	assert_non_null(strstr(f->err.text, "block 0"));
}

#define MANY (INDEX_FLUSH_ENTRIES + 40000u)

/* All tables gone: what is taken in again does not gather in memory. */
static void test_many_strays(void **state)
{
	struct fixture *f = *state;
	struct fixture_leaves tables;
	struct put_result result;
	char path[160];
	struct id id;

	fixture_open(f, STORE_WRITE);
	for (uint64_t n = 1; n <= MANY; n++)
		must(f, store_put(f->thread, CHUNK_DATA, &n, sizeof(n), &id,
				  &result, &f->err));
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	tables = fixture_list(f, "tables");
	for (size_t n = 0; n < tables.count; n++) {
		snprintf(path, sizeof(path), FIXTURE_PATH "/tables/%s",
			 tables.leaf[n]);
		unlink_object(f, path);
	}
	fixture_open(f, STORE_WRITE);
	assert_true(index_waiting(store_index(f->store)) < INDEX_FLUSH_ENTRIES);
	assert_int_equal(index_entry_count(store_index(f->store)) +
				 index_waiting(store_index(f->store)),
			 MANY);
	for (uint64_t n = 1; n <= MANY; n += 10000) {
		must(f, store_put(f->thread, CHUNK_DATA, &n, sizeof(n), &id,
				  &result, &f->err));
		assert_false(result.is_new);
	}
}

/* However much a dry run looks at, what it remembers is bounded; and what the
 * store has is not new, however late it comes. */
static void test_dry_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t news = 0, held = 1ULL << 40;
	struct put_result result;
	struct index *index;
	struct id id;

	fixture_open(f, STORE_WRITE);
	must(f, store_put(f->thread, CHUNK_DATA, &held, sizeof(held), &id,
			  &result, &f->err));
	must(f, store_thread_flush(f->thread, &f->err));
	fixture_close(f); /* a stray pack: it is taken in */
	fixture_open(f, STORE_DRY);
	index = store_index(f->store);
	for (uint64_t n = 1; n <= DRY_CLAIMS_MAX + 10; n++) {
		must(f, store_put(f->thread, CHUNK_DATA, &n, sizeof(n), &id,
				  &result, &f->err));
		news += result.is_new;
		assert_true(index->pending.used <= DRY_CLAIMS_MAX + 1);
	}
	assert_int_equal(news, DRY_CLAIMS_MAX + 10);
	must(f, store_put(f->thread, CHUNK_DATA, &news, sizeof(news), &id,
			  &result, &f->err));
	assert_false(result.is_new);
	must(f, store_put(f->thread, CHUNK_DATA, &held, sizeof(held), &id,
			  &result, &f->err));
	assert_false(result.is_new);
}

/* A pack that is cut short loses its last chunks and no others. */
static void test_short_pack(void **state)
{
	struct fixture *f = *state;
	struct vs_io *io = sim_io(f->sim);
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];
	int file;

	store_twice(f, ids, false);
	packs = fixture_list(f, "packs");
	pack_path(&packs, 0, path);
	file = io->ops->open(io, path, IO_READ_WRITE, &f->err);
	assert_true(file >= 0);
	assert_int_equal(io->ops->truncate(io, file, place_of(20) + 5), 0);
	io->ops->close(io, file);
	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < CHUNKS; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]),
				 n < 20 ? 0 : -EBADMSG);
}

/* In one call: the good ones of a group come, whatever the bad ones do. */
static void test_group(void **state)
{
	struct fixture *f = *state;
	struct store_read reads[CHUNKS];
	static uint8_t contents[CHUNKS][FIXTURE_CHUNK];
	uint8_t wanted[FIXTURE_CHUNK];
	struct fixture_leaves packs;
	struct id ids[CHUNKS];
	char path[160];

	store_twice(f, ids, false);
	packs = fixture_list(f, "packs");
	pack_path(&packs, 0, path);
	assert_int_equal(sim_flip(f->sim, path, place_of(7), 7), 0);
	fixture_open(f, STORE_READ);
	memset(reads, 0, sizeof(reads));
	for (unsigned n = 0; n < CHUNKS; n++) {
		reads[n].id = ids[n];
		reads[n].content = contents[n];
		reads[n].content_size = FIXTURE_CHUNK;
	}
	assert_int_equal(store_get_many(f->thread, reads, CHUNKS, &f->err),
			 -EBADMSG);
	for (unsigned n = 0; n < CHUNKS; n++) {
		assert_int_equal(reads[n].result, n == 7 ? -EBADMSG : 0);
		fixture_content(n, wanted, sizeof(wanted));
		if (n != 7)
			assert_memory_equal(contents[n], wanted,
					    sizeof(wanted));
	}
}

#define store_test(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_one_bad_chunk),
		store_test(test_other_copy),
		store_test(test_missing_pack),
		store_test(test_short_pack),
		store_test(test_group),
		store_test(test_lost_pack_stored_again),
		store_test(test_all_packs_lost),
		store_test(test_damaged_table),
		store_test(test_damaged_block),
		store_test(test_many_strays),
		store_test(test_dry_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
