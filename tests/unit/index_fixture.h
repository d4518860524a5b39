/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the index share: an index over a backend in memory. */
#ifndef TESTS_UNIT_INDEX_FIXTURE_H
#define TESTS_UNIT_INDEX_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/store/index_private.h"
#include "tests/rig/mem_backend.h"
#include "tests/rig/table_rig.h"

struct fixture {
	struct backend *backend;
	struct sealer *sealer;
	unsigned damaged;
};

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->backend = mem_backend_new();
	f->sealer = sealer_new(NULL);
	*state = f;
	return f->sealer ? 0 : -1;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mem_backend_open_puts(f->backend), 0);
	sealer_free(f->sealer);
	backend_close(f->backend);
	free(f);
	return 0;
}

static inline void note_damaged(void *arg, const char *name,
				const struct err *why)
{
	struct fixture *f = arg;

	assert_non_null(strstr(name, "tables/"));
	assert_true(why->code < 0);
	f->damaged++;
}

static inline int try_open(struct fixture *f, bool tolerant,
			   struct index **index, struct err *err)
{
	const struct index_options options = {
		.backend = f->backend,
		.store = &rig_store,
		.data_key = rig_key,
		.memory_bytes = 8 << 20,
		.tolerant = tolerant,
		.damaged = note_damaged,
		.arg = f,
	};

	return index_open(index, &options, f->sealer, err);
}

static inline struct index *open_index(struct fixture *f)
{
	struct err err = { 0 };
	struct index *index = NULL;

	if (try_open(f, false, &index, &err) < 0)
		fail_msg("%s", err.text);
	return index;
}

/* Chunks (seed, 0..count) lie in a new pack called (seed, UINT64_MAX). */
static inline void add_pack(struct index *index, uint64_t seed, uint32_t count)
{
	autofree struct entry *entries = calloc(count, sizeof(*entries));
	struct id pack = rig_id(seed, UINT64_MAX), id;
	struct table_pack line = rig_pack(&pack, count);
	uint32_t n;

	for (n = 0; n < count; n++) {
		id = rig_id(seed, n);
		entries[n] = rig_entry(&id, 0, n);
	}
	assert_int_equal(index_add_pack(index, &pack, le64_get(line.size_bytes),
					entries, count, NULL),
			 0);
}

static inline void flush(struct fixture *f, struct index *index)
{
	struct err err = { 0 };

	if (index_flush(index, f->sealer, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void expect_found(struct fixture *f, struct index *index,
				uint64_t seed, uint64_t count)
{
	struct id pack = rig_id(seed, UINT64_MAX), id;
	struct place place;
	uint64_t n;

	for (n = 0; n < count; n++) {
		id = rig_id(seed, n);
		assert_int_equal(
			index_find(index, f->sealer, &id, &place, NULL), 1);
		assert_true(id_equal(&place.pack, &pack));
		assert_true(id_equal(&place.entry.id, &id));
	}
	assert_true(index_names_pack(index, &pack));
}

static inline int claim(struct fixture *f, struct index *index, uint64_t seed,
			uint64_t n)
{
	struct id id = rig_id(seed, n);

	return index_claim(index, f->sealer, &id, NULL);
}

static inline int find(struct fixture *f, struct index *index, uint64_t seed,
		       uint64_t n)
{
	struct id id = rig_id(seed, n);
	struct place place;

	return index_find(index, f->sealer, &id, &place, NULL);
}

#define FIXTURE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
