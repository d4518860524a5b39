/* SPDX-License-Identifier: Apache-2.0 */
/* Random access to a volume: content, threads, damage, the cache's bound,
 * extents, other processes' packs, the base of an image. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/image/image.h"
#include "tests/rig/engine_rig.h"
#include "vmsnap/reader.h"

#define DISK_BYTES ((20u << 20) + 12345)
#define CACHE      (2u << 20)

struct bench {
	struct engine_rig *rig;
	struct snapshot snapshot;
	struct vms_cache *cache;
	struct vms_reader *reader;
	uint8_t *want;
};

static void ok(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

/* Data at 0..3 MiB, 5..8 MiB and the last 1.5 MiB; holes between. */
static void make_disk(const struct engine_rig *rig, const char *name)
{
	engine_rig_disk(rig, name, DISK_BYTES);
	engine_rig_write(rig, name, 0, 3u << 20, 1);
	engine_rig_write(rig, name, 5u << 20, 3u << 20, 2);
	engine_rig_write(rig, name, DISK_BYTES - (3u << 19), 3u << 19, 3);
}

static void want_disk(uint8_t *to)
{
	memset(to, 0, DISK_BYTES);
	engine_rig_pattern(to, 3u << 20, 0, 1);
	engine_rig_pattern(to + (5u << 20), 3u << 20, 5u << 20, 2);
	engine_rig_pattern(to + DISK_BYTES - (3u << 19), 3u << 19,
			   DISK_BYTES - (3u << 19), 3);
}

static void bench_open(struct bench *bench, void **state, size_t cache)
{
	struct err err = { 0 };

	memset(bench, 0, sizeof(*bench));
	bench->rig = *state;
	make_disk(bench->rig, "a");
	engine_rig_backup(bench->rig, "vm", "a", NULL, &bench->snapshot);
	engine_rig_open(bench->rig, STORE_READ, 2);
	ok(vms_cache_new(&bench->cache, cache, &err), &err);
	ok(vms_reader_open(&bench->reader, bench->rig->vms, bench->cache,
			   &bench->snapshot.volumes[0], &err),
	   &err);
	bench->want = malloc(DISK_BYTES);
	assert_non_null(bench->want);
	want_disk(bench->want);
}

static void bench_close(struct bench *bench)
{
	vms_reader_close(bench->reader);
	vms_cache_free(bench->cache);
	snapshot_release(&bench->snapshot);
	free(bench->want);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 20;
}

/* Some range, read and compared; -errno of the read, or 1 for a difference. */
static int read_some(const struct bench *bench, uint8_t *buffer, size_t most,
		     uint64_t *random)
{
	uint64_t offset = next_random(random) % DISK_BYTES;
	size_t length = (size_t)min_u64(next_random(random) % most + 1,
					DISK_BYTES - offset);
	int r = vms_reader_read(bench->reader, buffer, length, offset, NULL);

	if (r < 0)
		return r;
	return memcmp(buffer, bench->want + offset, length) ? 1 : 0;
}

static void test_content(void **state)
{
	struct bench bench;
	uint64_t random = 1;
	uint8_t *buffer = malloc(DISK_BYTES);
	struct err err = { 0 };

	assert_non_null(buffer);
	bench_open(&bench, state, CACHE);
	assert_int_equal(vms_reader_size(bench.reader), DISK_BYTES);
	ok(vms_reader_read(bench.reader, buffer, DISK_BYTES, 0, &err), &err);
	assert_memory_equal(buffer, bench.want, DISK_BYTES);
	for (unsigned n = 0; n < 300; n++)
		assert_int_equal(read_some(&bench, buffer, 300000, &random), 0);
	/* In order, as a copy reads. */
	for (uint64_t at = 0; at < DISK_BYTES; at += 65536) {
		size_t length = (size_t)min_u64(65536, DISK_BYTES - at);

		ok(vms_reader_read(bench.reader, buffer, length, at, &err),
		   &err);
		assert_memory_equal(buffer, bench.want + at, length);
	}
	ok(vms_reader_read(bench.reader, buffer, 0, DISK_BYTES, &err), &err);
	assert_int_equal(
		vms_reader_read(bench.reader, buffer, 1, DISK_BYTES, &err),
		-EINVAL);
	assert_int_equal(
		vms_reader_read(bench.reader, buffer, 2, DISK_BYTES - 1, &err),
		-EINVAL);
	assert_int_equal(
		vms_reader_read(bench.reader, buffer, 1, UINT64_MAX, &err),
		-EINVAL);
	free(buffer);
	bench_close(&bench);
}

/* ---- threads ---- */

struct crowd {
	struct bench *bench;
	_Atomic unsigned wrong;
};

static int crowd_run(void *arg, unsigned worker, struct err *err)
{
	struct crowd *crowd = arg;
	uint64_t random = worker + 77;
	uint8_t *buffer = malloc(200000);

	(void)err;
	if (!buffer)
		crowd->wrong++;
	for (unsigned n = 0; n < 150 && buffer; n++)
		if (read_some(crowd->bench, buffer, 200000, &random))
			crowd->wrong++;
	free(buffer);
	return 0;
}

static void test_threads(void **state)
{
	struct bench bench;
	struct crowd crowd = { .bench = &bench };
	struct err err = { 0 };

	/* A cache far too small: all the time something is thrown out. */
	bench_open(&bench, state, 512u << 10);
	ok(pool_run(8, crowd_run, &crowd, &err), &err);
	assert_int_equal(crowd.wrong, 0);
	bench_close(&bench);
}

static int same_run(void *arg, unsigned worker, struct err *err)
{
	struct crowd *crowd = arg;
	uint8_t *buffer = malloc(3u << 20);

	(void)worker;
	(void)err;
	if (!buffer ||
	    vms_reader_read(crowd->bench->reader, buffer, 3u << 20, 0, NULL) ||
	    memcmp(buffer, crowd->bench->want, 3u << 20))
		crowd->wrong++;
	free(buffer);
	return 0;
}

/* However many want a chunk at once, it is fetched once. */
static void test_one_fetch(void **state)
{
	struct bench bench;
	struct crowd crowd = { .bench = &bench };
	struct chunk_cache_totals totals;
	struct err err = { 0 };

	bench_open(&bench, state, 64u << 20);
	ok(pool_run(8, same_run, &crowd, &err), &err);
	assert_int_equal(crowd.wrong, 0);
	read_ahead_leave(bench.reader);
	chunk_cache_totals(bench.cache->chunks, &totals);
	/* 144 chunks of data at most with what is read ahead, and 3 nodes. */
	assert_in_range(totals.fetches, 48, 144 + 3);
	assert_true(totals.hits > 7 * 48);
	bench_close(&bench);
}

static void test_bound(void **state)
{
	struct bench bench;
	struct chunk_cache_totals totals;
	uint8_t *buffer = malloc(DISK_BYTES);
	struct err err = { 0 };

	assert_non_null(buffer);
	bench_open(&bench, state, CACHE);
	for (unsigned n = 0; n < 3; n++)
		ok(vms_reader_read(bench.reader, buffer, DISK_BYTES, 0, &err),
		   &err);
	read_ahead_leave(bench.reader);
	chunk_cache_totals(bench.cache->chunks, &totals);
	assert_true(totals.held_bytes <= CACHE);
	assert_true(totals.held_bytes > CACHE / 2);
	free(buffer);
	bench_close(&bench);
}

/* ---- damage ---- */

static void test_damage(void **state)
{
	struct bench bench;
	struct place place;
	char name[OBJECT_NAME_MAX];
	uint8_t *buffer = malloc(DISK_BYTES);
	struct err err = { 0 };

	assert_non_null(buffer);
	bench_open(&bench, state, CACHE);
	/* Chunk 17: bytes 1114112 to 1179648. */
	engine_rig_place(bench.rig, &bench.snapshot.volumes[0], 17, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(bench.rig, name, le32_get(place.entry.offset) + 5);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(vms_reader_read(bench.reader, buffer, 1,
						 17u << 16, &err),
				 -EIO);
		assert_non_null(strstr(err.text, "bytes 1114112 to 1114113"));
		assert_int_equal(vms_reader_read(bench.reader, buffer,
						 DISK_BYTES, 0, &err),
				 -EIO);
		ok(vms_reader_read(bench.reader, buffer, 17u << 16, 0, &err),
		   &err);
		assert_memory_equal(buffer, bench.want, 17u << 16);
		ok(vms_reader_read(bench.reader, buffer,
				   DISK_BYTES - (18u << 16), 18u << 16, &err),
		   &err);
		assert_memory_equal(buffer, bench.want + (18u << 16),
				    DISK_BYTES - (18u << 16));
	}
	/* Made good again, it is read again. */
	engine_rig_flip(bench.rig, name, le32_get(place.entry.offset) + 5);
	ok(vms_reader_read(bench.reader, buffer, DISK_BYTES, 0, &err), &err);
	assert_memory_equal(buffer, bench.want, DISK_BYTES);
	free(buffer);
	bench_close(&bench);
}

/* All packs gone: each read fails, extents are data, and nothing hangs. */
static void test_all_gone(void **state)
{
	struct bench bench;
	char name[OBJECT_NAME_MAX];
	uint8_t buffer[4096];
	bool is_hole = true;
	uint64_t run = 0;
	struct err err = { 0 };

	bench_open(&bench, state, CACHE);
	while (engine_rig_count(bench.rig, "packs")) {
		engine_rig_object(bench.rig, "packs", 0, name);
		engine_rig_remove(bench.rig, name);
	}
	for (uint64_t at = 0; at < DISK_BYTES - 4096; at += 1u << 20)
		assert_int_equal(
			vms_reader_read(bench.reader, buffer, 4096, at, &err),
			-EIO);
	ok(vms_reader_extent(bench.reader, 0, DISK_BYTES, &is_hole, &run, &err),
	   &err);
	assert_false(is_hole);
	assert_int_equal(run, DISK_BYTES);
	bench_close(&bench);
}

/* ---- extents ---- */

static void test_extents(void **state)
{
	static const struct {
		uint64_t until;
		bool is_hole;
	} wanted[] = {
		{ 3u << 20, false },
		{ 5u << 20, true },
		{ 8u << 20, false },
		/* The last data begins within a chunk. */
		{ (DISK_BYTES - (3u << 19)) & ~65535u, true },
		{ DISK_BYTES, false },
	};
	struct bench bench;
	struct err err = { 0 };
	bool is_hole;
	uint64_t run;
	size_t n = 0;

	bench_open(&bench, state, CACHE);
	for (uint64_t at = 0; at < DISK_BYTES; at += run, n++) {
		assert_true(n < ARRAY_SIZE(wanted));
		ok(vms_reader_extent(bench.reader, at, UINT64_MAX, &is_hole,
				     &run, &err),
		   &err);
		assert_int_equal(is_hole, wanted[n].is_hole);
		assert_int_equal(at + run, wanted[n].until);
	}
	assert_int_equal(n, ARRAY_SIZE(wanted));
	/* From within, and cut to length. */
	ok(vms_reader_extent(bench.reader, 3500000, 10, &is_hole, &run, &err),
	   &err);
	assert_true(is_hole);
	assert_int_equal(run, 10);
	assert_int_equal(vms_reader_extent(bench.reader, DISK_BYTES, 1,
					   &is_hole, &run, &err),
			 -EINVAL);
	bench_close(&bench);
}

/* Three levels: a few blocks in 40 GiB. */
static void test_large(void **state)
{
	static const uint64_t places[] = { 0, 17ULL << 30,
					   (40ULL << 30) - 512 };
	struct engine_rig *rig = *state;
	struct snapshot snapshot = { 0 };
	struct vms_cache *cache = NULL;
	struct vms_reader *reader = NULL;
	struct err err = { 0 };
	uint8_t got[512], want[512];
	uint64_t data = 0, run;
	bool is_hole;

	engine_rig_disk(rig, "big", 40ULL << 30);
	for (size_t n = 0; n < ARRAY_SIZE(places); n++)
		engine_rig_write(rig, "big", places[n], 512, n + 1);
	engine_rig_backup(rig, "big", "big", NULL, &snapshot);
	ok(vms_cache_new(&cache, CACHE, &err), &err);
	ok(vms_reader_open(&reader, rig->vms, cache, &snapshot.volumes[0],
			   &err),
	   &err);
	for (size_t n = 0; n < ARRAY_SIZE(places); n++) {
		ok(vms_reader_read(reader, got, 512, places[n], &err), &err);
		engine_rig_pattern(want, 512, places[n], n + 1);
		assert_memory_equal(got, want, 512);
	}
	ok(vms_reader_read(reader, got, 512, 5ULL << 30, &err), &err);
	assert_true(bytes_are_zero(got, 512));
	for (uint64_t at = 0; at < 40ULL << 30; at += run) {
		ok(vms_reader_extent(reader, at, UINT64_MAX, &is_hole, &run,
				     &err),
		   &err);
		data += is_hole ? 0 : run;
	}
	assert_int_equal(data, 3 * RIG_CHUNK);
	assert_int_equal(vms_reader_data_bytes(reader, 1000), data);
	/* What is not looked at counts as data. */
	assert_int_equal(vms_reader_data_bytes(reader, 0), 40ULL << 30);
	run = vms_reader_data_bytes(reader, 2);
	assert_true(run > data && run < 40ULL << 30);
	vms_reader_close(reader);
	vms_cache_free(cache);
	snapshot_release(&snapshot);
}

/* ---- what another process has written ---- */

static void test_refresh(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot first = { 0 }, second = { 0 };
	struct vms_options options = { .location = rig->store,
				       .store = { .mode = STORE_READ } };
	struct vms_reader *reader = NULL;
	struct vms_cache *cache = NULL;
	struct vms *other = NULL;
	uint8_t got[4096], want[4096];
	struct err err = { 0 };

	make_disk(rig, "a");
	engine_rig_backup(rig, "vm", "a", NULL, &first);
	ok(vms_open(&other, &options, &err), &err);
	engine_rig_write(rig, "a", 4u << 20, 4096, 9);
	engine_rig_backup(rig, "vm", "a", NULL, &second);
	ok(vms_refresh(other, &err), &err);
	ok(vms_cache_new(&cache, CACHE, &err), &err);
	ok(vms_reader_open(&reader, other, cache, &second.volumes[0], &err),
	   &err);
	ok(vms_reader_read(reader, got, 4096, 4u << 20, &err), &err);
	engine_rig_pattern(want, 4096, 4u << 20, 9);
	assert_memory_equal(got, want, 4096);
	vms_reader_close(reader);
	vms_cache_free(cache);
	vms_close(other);
	snapshot_release(&first);
	snapshot_release(&second);
}

/* ---- as a base ---- */

static void test_base(void **state)
{
	struct bench bench;
	struct image_base *base = NULL;
	struct err err = { 0 };
	uint8_t got[4096];
	bool zero = false;
	uint64_t run = 0;

	bench_open(&bench, state, CACHE);
	ok(vms_reader_base(&base, bench.reader, &err), &err);
	bench.reader = NULL;
	assert_int_equal(base->size_bytes, DISK_BYTES);
	assert_int_equal(base->try_read(base, got, 4096, 70000), -EAGAIN);
	assert_int_equal(base->read(base, got, 4096, 70000), 0);
	assert_memory_equal(got, bench.want + 70000, 4096);
	memset(got, 0, sizeof(got));
	assert_int_equal(base->try_read(base, got, 4096, 70000), 0);
	assert_memory_equal(got, bench.want + 70000, 4096);
	assert_int_equal(base->extent(base, 3u << 20, 1u << 20, &zero, &run),
			 0);
	assert_true(zero);
	assert_int_equal(run, 1u << 20);
	base->close(base);
	bench_close(&bench);
}

int main(void)
{
#define TEST(fn)                                              \
	cmocka_unit_test_setup_teardown(fn, engine_rig_setup, \
					engine_rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_content), TEST(test_threads), TEST(test_one_fetch),
		TEST(test_bound),   TEST(test_damage),  TEST(test_all_gone),
		TEST(test_extents), TEST(test_large),   TEST(test_refresh),
		TEST(test_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
