/* SPDX-License-Identifier: Apache-2.0 */
/* The open store: put, get, commit, adoption, modes, condemned packs. */
#include "tests/unit/store_fixture.h"

static void test_put_get(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id ids[600], again;

	fixture_open(f, STORE_WRITE);
	for (unsigned n = 0; n < 600; n++) {
		ids[n] = fixture_put(f, n, &result);
		assert_true(result.is_new);
		assert_int_equal(result.stored_bytes, FIXTURE_CHUNK + 16);
	}
	again = fixture_put(f, 5, &result);
	assert_true(id_equal(&again, &ids[5]));
	assert_false(result.is_new);
	assert_int_equal(result.stored_bytes, 0);
	fixture_commit(f, "vm", NULL);
	assert_int_equal(fixture_list(f, "packs").count, 3);
	assert_int_equal(fixture_list(f, "tables").count, 1);
	for (unsigned n = 0; n < 600; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
	fixture_close(f);

	/* Another process, and one that may only read. */
	fixture_open(f, STORE_READ);
	for (unsigned n = 600; n--;)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
	assert_int_equal(store_has(f->thread, &ids[0], &f->err), 1);
	ids[0].b[0] ^= 1;
	assert_int_equal(store_has(f->thread, &ids[0], &f->err), 0);
	assert_int_equal(fixture_get(f, 0, &ids[0]), -EBADMSG);
	assert_non_null(strstr(f->err.text, "missing"));
}

static void test_get_many(void **state)
{
	enum { COUNT = 500 };
	struct fixture *f = *state;
	struct store_read *reads = calloc(COUNT, sizeof(*reads));
	uint8_t *contents = malloc((size_t)COUNT * FIXTURE_CHUNK);
	uint8_t wanted[FIXTURE_CHUNK];
	struct id ids[COUNT];

	assert_true(reads && contents);
	fixture_open(f, STORE_WRITE);
	for (unsigned n = 0; n < COUNT; n++)
		ids[n] = fixture_put(f, n, NULL);
	fixture_commit(f, "vm", NULL);

	/* In another order, one of them twice, one absent, one misjudged. */
	for (unsigned n = 0; n < COUNT; n++) {
		reads[n].id = ids[(n * 7) % COUNT];
		reads[n].kind = CHUNK_DATA;
		reads[n].content = contents + (size_t)n * FIXTURE_CHUNK;
		reads[n].content_size = FIXTURE_CHUNK;
	}
	reads[9].id = reads[8].id;
	reads[20].id.b[3] ^= 1;
	reads[30].content_size--;
	reads[40].kind = CHUNK_NODE;
	assert_int_equal(store_get_many(f->thread, reads, COUNT, &f->err),
			 -EBADMSG);
	for (unsigned n = 0; n < COUNT; n++) {
		if (n == 20 || n == 30 || n == 40) {
			assert_int_equal(reads[n].result, -EBADMSG);
			assert_string_not_equal(reads[n].err.text, "");
			continue;
		}
		assert_int_equal(reads[n].result, 0);
		fixture_content((n == 9 ? 56 : n * 7) % COUNT, wanted,
				sizeof(wanted));
		assert_memory_equal(reads[n].content, wanted, sizeof(wanted));
	}
	free(contents);
	free(reads);
}

static void test_get_unknown_size(void **state)
{
	struct fixture *f = *state;
	uint8_t content[FIXTURE_CHUNK];
	uint32_t size = 0;
	struct id id;

	fixture_open(f, STORE_WRITE);
	id = fixture_put(f, 1, NULL);
	fixture_commit(f, "vm", NULL);
	assert_int_equal(store_get(f->thread, CHUNK_DATA, &id, content,
				   sizeof(content), &size, &f->err),
			 0);
	assert_int_equal(size, FIXTURE_CHUNK);
	assert_int_equal(store_get(f->thread, CHUNK_DATA, &id, content,
				   sizeof(content) - 1, &size, &f->err),
			 -EBADMSG);
	assert_int_equal(store_get(f->thread, CHUNK_NODE, &id, content,
				   sizeof(content), &size, &f->err),
			 -EBADMSG);
}

static void test_sequence(void **state)
{
	struct fixture *f = *state;
	struct snapshot snapshot;
	struct snapshot_list list;
	struct id first = { { 0 } }, second = first, other = first;

	fixture_open(f, STORE_WRITE);
	assert_int_equal(
		store_latest_snapshot(f->thread, "vm", &snapshot, &f->err),
		-ENOENT);
	fixture_commit(f, "vm", &first);
	fixture_commit(f, "other", &other);
	fixture_commit(f, "vm", &second);
	assert_int_equal(snapshot_id_sequence(&first), 1);
	assert_int_equal(snapshot_id_sequence(&other), 1);
	assert_int_equal(snapshot_id_sequence(&second), 2);
	must(f, store_list_snapshots(f->store, &list, &f->err));
	assert_int_equal(list.count, 3);
	snapshot_list_release(&list);
	must(f, store_latest_snapshot(f->thread, "vm", &snapshot, &f->err));
	assert_true(id_equal(&snapshot.id, &second));
	assert_int_equal(snapshot.time_ns, 7);
	assert_string_equal(snapshot.volumes[0].name, "disk0");
	snapshot_release(&snapshot);
}

/* ---- the names of snapshots, listed ahead ---- */

static struct backend_ops counting_ops;
static int (*list_below)(struct backend *backend, const char *folder,
			 backend_list_fn *fn, void *arg, struct err *err);
static unsigned snapshot_listings;

static int counting_list(struct backend *backend, const char *folder,
			 backend_list_fn *fn, void *arg, struct err *err)
{
	snapshot_listings += strcmp(folder, "snapshots") == 0;
	return list_below(backend, folder, fn, arg, err);
}

static void open_ahead(struct fixture *f)
{
	const struct store_options options = {
		.mode = STORE_WRITE,
		.index_memory = 4u << 20,
		.names_ahead = true,
	};
	struct backend *backend = fixture_backend(f);

	counting_ops = *backend->ops;
	list_below = counting_ops.list;
	counting_ops.list = counting_list;
	backend->ops = &counting_ops;
	snapshot_listings = 0;
	must(f, store_open(&f->store, backend, &options, &f->err));
	f->thread = store_thread_new(f->store, &f->err);
	assert_non_null(f->thread);
}

static void assert_latest(struct fixture *f, uint64_t sequence)
{
	struct snapshot snapshot;

	must(f, store_latest_snapshot(f->thread, "vm", &snapshot, &f->err));
	assert_int_equal(snapshot.sequence, sequence);
	snapshot_release(&snapshot);
}

/* A run lists them once; what it commits itself is seen by the next. */
static void test_names_ahead(void **state)
{
	struct fixture *f = *state;
	struct snapshot_list list;
	struct id id = { { 0 } };

	fixture_open(f, STORE_WRITE);
	fixture_commit(f, "other", NULL);
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	open_ahead(f);
	assert_latest(f, 1);
	must(f, store_list_snapshots(f->store, &list, &f->err));
	assert_int_equal(list.count, 2);
	snapshot_list_release(&list);
	fixture_commit(f, "vm", &id);
	assert_int_equal(snapshot_id_sequence(&id), 2);
	assert_int_equal(snapshot_listings, 1);
	assert_latest(f, 2);
	fixture_commit(f, "vm", &id);
	assert_int_equal(snapshot_id_sequence(&id), 3);
}

/* Another writer of the same name was faster: its sequence is not taken. */
static void test_names_changed(void **state)
{
	struct fixture *f = *state;
	struct fixture faster = { .sim = f->sim };
	struct id id = { { 0 } };

	open_ahead(f);
	assert_int_equal(snapshot_listings, 1);
	fixture_open(&faster, STORE_WRITE);
	fixture_commit(&faster, "vm", &id);
	assert_int_equal(snapshot_id_sequence(&id), 1);
	fixture_close(&faster);
	fixture_commit(f, "vm", &id);
	assert_int_equal(snapshot_id_sequence(&id), 2);
	assert_int_equal(snapshot_listings, 2);
}

/* A manifest under another's name: the seal tells. */
static void test_swapped_snapshot(void **state)
{
	struct fixture *f = *state;
	struct snapshot snapshot;
	struct bytes data = { 0 };
	struct backend *backend;
	char name[OBJECT_NAME_MAX], hex[ID_HEX_SIZE];
	struct id id;

	fixture_open(f, STORE_WRITE);
	fixture_commit(f, "vm", &id);
	hex_encode(hex, id.b, ID_SIZE);
	snprintf(name, sizeof(name), "snapshots/%s", hex);
	backend = fixture_backend(f);
	must(f, backend_get_whole(backend, name, 1 << 20, &data, &f->err));
	id.b[0] ^= 1;
	hex_encode(hex, id.b, ID_SIZE);
	snprintf(name, sizeof(name), "snapshots/%s", hex);
	must(f,
	     backend_put_whole(backend, name, data.data, data.size, &f->err));
	backend_close(backend);
	bytes_release(&data);
	assert_int_equal(
		store_load_snapshot(f->thread, &id, &snapshot, &f->err),
		-EBADMSG);
	id.b[1] ^= 1;
	assert_int_equal(
		store_load_snapshot(f->thread, &id, &snapshot, &f->err),
		-ENOENT);
}

static void test_adoption(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id ids[20];

	fixture_open(f, STORE_WRITE);
	for (unsigned n = 0; n < 20; n++)
		ids[n] = fixture_put(f, n, NULL);
	must(f, store_thread_flush(f->thread, &f->err));
	fixture_close(f); /* dies before its table */
	assert_int_equal(fixture_list(f, "tables").count, 0);

	fixture_open(f, STORE_READ); /* readers rely on tables alone */
	assert_int_equal(fixture_get(f, 3, &ids[3]), -EBADMSG);
	fixture_close(f);

	fixture_open(f, STORE_WRITE);
	for (unsigned n = 0; n < 20; n++) {
		fixture_put(f, n, &result);
		assert_false(result.is_new);
	}
	fixture_commit(f, "vm", NULL);
	assert_int_equal(fixture_list(f, "packs").count, 1);
	assert_int_equal(fixture_list(f, "tables").count, 1);
	fixture_close(f);

	fixture_open(f, STORE_READ);
	for (unsigned n = 0; n < 20; n++)
		assert_int_equal(fixture_get(f, n, &ids[n]), 0);
}

static void test_unreadable_stray(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	char path[128];
	struct fixture_leaves packs;

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, NULL);
	must(f, store_thread_flush(f->thread, &f->err));
	fixture_close(f);
	packs = fixture_list(f, "packs");
	assert_int_equal(packs.count, 1);
	snprintf(path, sizeof(path), FIXTURE_PATH "/packs/%.2s/%s",
		 packs.leaf[0], packs.leaf[0]);
	assert_int_equal(sim_flip(f->sim, path, 30, 1), 0);

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, &result);
	assert_true(result.is_new);
	fixture_commit(f, "vm", NULL);
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id id;
	uint8_t byte = 1;

	fixture_open(f, STORE_READ);
	assert_int_equal(store_put(f->thread, CHUNK_DATA, &byte, 1, &id,
				   &result, &f->err),
			 -EROFS);
	assert_int_equal(fixture_try_commit(f, "vm", NULL), -EROFS);
	assert_int_equal(fixture_list(f, "packs").count, 0);
}

static void test_dry(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id id = { { 1 } };

	fixture_open(f, STORE_DRY);
	fixture_put(f, 1, &result);
	assert_true(result.is_new);
	assert_int_equal(result.stored_bytes, FIXTURE_CHUNK + 16);
	fixture_put(f, 1, &result);
	assert_false(result.is_new);
	assert_true(store_stored_bytes(f->store) > FIXTURE_CHUNK);
	memset(&id, 0, sizeof(id));
	fixture_commit(f, "vm", &id);
	assert_true(id_is_null(&id));
	fixture_close(f);
	assert_int_equal(fixture_list(f, "packs").count, 0);
	assert_int_equal(fixture_list(f, "snapshots").count, 0);
}

static void put_condemned(struct fixture *f, const struct id *pack)
{
	struct condemned list = { .packs = (struct id *)pack, .pack_count = 1 };
	const char *name = "condemned/00112233445566778899aabbccddeeff";
	struct bytes plain = { 0 }, sealed = { 0 };

	must(f, condemned_encode(&list, &plain, &f->err));
	must(f, sealed_object_make(store_thread_sealer(f->thread),
				   OBJECT_CONDEMNED,
				   &store_config(f->store)->store,
				   store_masters(f->store)->data_key, name,
				   plain.data, plain.size, &sealed, &f->err));
	must(f, backend_put_whole(store_backend(f->store), name, sealed.data,
				  sealed.size, &f->err));
	bytes_release(&plain);
	bytes_release(&sealed);
}

static struct id only_pack(struct fixture *f)
{
	struct fixture_leaves packs = fixture_list(f, "packs");
	struct id id;

	assert_int_equal(packs.count, 1);
	assert_int_equal(hex_decode(id.b, ID_SIZE, packs.leaf[0], 64), 0);
	return id;
}

/* Prune condemns a pack while a writer counts on it. */
static void test_condemned_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id pack;

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, NULL);
	fixture_commit(f, "vm", NULL);
	fixture_close(f);
	pack = only_pack(f);

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, &result);
	assert_false(result.is_new);
	put_condemned(f, &pack);
	assert_int_equal(fixture_try_commit(f, "vm", NULL), -EAGAIN);
	fixture_close(f);

	fixture_open(f, STORE_WRITE); /* it counts as absent now */
	fixture_put(f, 1, &result);
	assert_true(result.is_new);
	fixture_commit(f, "vm", NULL);
	assert_int_equal(fixture_list(f, "snapshots").count, 2);
}

static void test_condemned_is_not_adopted(void **state)
{
	struct fixture *f = *state;
	struct put_result result;
	struct id pack;

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, NULL);
	must(f, store_thread_flush(f->thread, &f->err));
	pack = only_pack(f);
	put_condemned(f, &pack);
	fixture_close(f);

	fixture_open(f, STORE_WRITE);
	assert_false(index_names_pack(store_index(f->store), &pack));
	fixture_put(f, 1, &result);
	assert_true(result.is_new);
}

/* A damaged list may hide a pack that is to be deleted: no backup then. */
static void test_damaged_condemned(void **state)
{
	struct fixture *f = *state;
	struct id pack = { { 1 } };

	fixture_open(f, STORE_WRITE);
	put_condemned(f, &pack);
	fixture_close(f);
	assert_int_equal(sim_flip(f->sim,
				  FIXTURE_PATH
				  "/condemned/00112233445566778899aabbccddeeff",
				  90, 0),
			 0);
	assert_int_equal(fixture_try_open(f, STORE_WRITE), -EBADMSG);
	assert_non_null(strstr(f->err.text, "condemned/0011"));
	f->store = NULL;
	fixture_open(f, STORE_READ);
}

static void test_failure_is_for_good(void **state)
{
	struct fixture *f = *state;
	uint64_t op;

	fixture_open(f, STORE_WRITE);
	fixture_put(f, 1, NULL);
	op = sim_count(f->sim).ops;
	sim_fail_at(f->sim, op + 1, -EIO, false);
	assert_int_equal(fixture_try_commit(f, "vm", NULL), -EIO);
	assert_int_equal(fixture_try_commit(f, "vm", NULL), -EIO);
	assert_int_equal(fixture_list(f, "snapshots").count, 0);
}

static void test_no_store(void **state)
{
	struct fixture *f = *state;
	struct store_options options = { .mode = STORE_READ };
	struct backend *backend;

	must(f,
	     backend_open_dir(&backend, sim_io(f->sim), "/elsewhere", &f->err));
	assert_int_equal(store_open(&f->store, backend, &options, &f->err),
			 -ENOENT);
	assert_non_null(strstr(f->err.text, "not a store"));
	assert_non_null(strstr(f->err.text, "vmsnap init"));
	f->store = NULL;
}

#define store_test(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_put_get),
		store_test(test_get_many),
		store_test(test_get_unknown_size),
		store_test(test_sequence),
		store_test(test_names_ahead),
		store_test(test_names_changed),
		store_test(test_swapped_snapshot),
		store_test(test_adoption),
		store_test(test_unreadable_stray),
		store_test(test_read_only),
		store_test(test_dry),
		store_test(test_condemned_meanwhile),
		store_test(test_condemned_is_not_adopted),
		store_test(test_damaged_condemned),
		store_test(test_failure_is_for_good),
		store_test(test_no_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
