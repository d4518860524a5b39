/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of the simulated disk, for unit tests. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

/* clang-format off */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "format/base/base.h"
#include "format/store/pack.h"
#include "format/store/store.h"
#include "tests/sim/sim.h"

#define FIXTURE_PATH  "/store"
#define FIXTURE_CHUNK 4096u

struct fixture {
	struct sim *sim;
	struct store *store;
	struct store_thread *thread;
	unsigned warnings;
	char warning[ERR_TEXT_MAX];
	struct err err;
};

#define must(f, call)                                  \
	do {                                           \
		int must_r_ = (call);                  \
		if (must_r_ < 0)                       \
			fail_msg("%s", (f)->err.text); \
	} while (0)

static inline void fixture_warn(void *arg, const char *text)
{
	struct fixture *f = arg;

	f->warnings++;
	snprintf(f->warning, sizeof(f->warning), "%s", text);
}

static inline struct backend *fixture_backend(struct fixture *f)
{
	struct backend *backend;

	must(f,
	     backend_open_dir(&backend, sim_io(f->sim), FIXTURE_PATH, &f->err));
	return backend;
}

static inline int fixture_try_open(struct fixture *f, enum store_mode mode)
{
	const struct store_options options = {
		.mode = mode,
		.warn = fixture_warn,
		.warn_arg = f,
		.index_memory = 4u << 20,
	};

	return store_open(&f->store, fixture_backend(f), &options, &f->err);
}

static inline void fixture_open(struct fixture *f, enum store_mode mode)
{
	must(f, fixture_try_open(f, mode));
	f->thread = store_thread_new(f->store, &f->err);
	assert_non_null(f->thread);
}

static inline void fixture_close(struct fixture *f)
{
	store_thread_free(f->thread);
	store_close(f->store);
	f->thread = NULL;
	f->store = NULL;
}

/* A plaintext store with packs of 1 MiB, not open. */
static inline int fixture_setup(void **state)
{
	const struct store_create_options options = {
		.plaintext = true,
		.pack_size_bytes = MIB,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct backend *backend;

	assert_non_null(f);
	f->sim = sim_new(1);
	backend = fixture_backend(f);
	must(f, store_create(backend, &options, &f->err));
	backend_close(backend);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	assert_int_equal(sim_count(f->sim).open_files, 0);
	sim_free(f->sim);
	free(f);
	return 0;
}

/* Content number n: incompressible, never the same. */
static inline void fixture_content(uint64_t n, uint8_t *content, size_t size)
{
	uint64_t state = n * 0x9e3779b97f4a7c15 + 1;

	for (size_t at = 0; at < size; at++) {
		state = state * 6364136223846793005 + 1442695040888963407;
		content[at] = (uint8_t)(state >> 56);
	}
	memcpy(content, &n, sizeof(n));
}

static inline struct id fixture_put(struct fixture *f, uint64_t n,
				    struct put_result *result)
{
	uint8_t content[FIXTURE_CHUNK];
	struct put_result own;
	struct id id;

	fixture_content(n, content, sizeof(content));
	must(f, store_put(f->thread, CHUNK_DATA, content, sizeof(content), &id,
			  result ? result : &own, &f->err));
	return id;
}

/* 0 or what the read failed with; the content is compared. */
static inline int fixture_get(struct fixture *f, uint64_t n,
			      const struct id *id)
{
	uint8_t wanted[FIXTURE_CHUNK], content[FIXTURE_CHUNK];
	struct store_read read = {
		.id = *id,
		.kind = CHUNK_DATA,
		.content = content,
		.content_size = sizeof(content),
	};
	int r = store_get_many(f->thread, &read, 1, &f->err);

	assert_int_equal(r, read.result);
	if (r < 0)
		return r;
	fixture_content(n, wanted, sizeof(wanted));
	assert_memory_equal(content, wanted, sizeof(wanted));
	return 0;
}

static inline int fixture_try_commit(struct fixture *f, const char *name,
				     struct id *id)
{
	struct snapshot snapshot = { .time_ns = 7 };
	struct volume *volume;
	int r;

	snprintf(snapshot.name, sizeof(snapshot.name), "%s", name);
	volume = snapshot_add_volume(&snapshot, &f->err);
	assert_non_null(volume);
	strcpy(volume->name, "disk0");
	volume->chunk_log2 = 16;
	r = store_thread_flush(f->thread, &f->err);
	if (r == 0)
		r = store_commit(f->store, f->thread, &snapshot, &f->err);
	if (r == 0 && id)
		*id = snapshot.id;
	snapshot_release(&snapshot);
	return r;
}

static inline void fixture_commit(struct fixture *f, const char *name,
				  struct id *id)
{
	must(f, fixture_try_commit(f, name, id));
}

struct fixture_leaves {
	char leaf[64][ID_HEX_SIZE];
	size_t count;
};

static inline int fixture_add_leaf(void *arg, const char *leaf, struct err *err)
{
	struct fixture_leaves *leaves = arg;

	(void)err;
	assert_true(leaves->count < 64);
	snprintf(leaves->leaf[leaves->count++], ID_HEX_SIZE, "%s", leaf);
	return 0;
}

static inline struct fixture_leaves fixture_list(struct fixture *f,
						 const char *folder)
{
	struct fixture_leaves leaves = { .count = 0 };
	struct backend *backend = fixture_backend(f);

	must(f,
	     backend_list(backend, folder, fixture_add_leaf, &leaves, &f->err));
	backend_close(backend);
	return leaves;
}

#endif
