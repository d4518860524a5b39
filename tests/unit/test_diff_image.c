/* SPDX-License-Identifier: Apache-2.0 */
/* Differences of images from each other and from snapshots, held against the
 * bytes of both. */
#include "tests/unit/live_bench.h"

struct told {
	struct range ranges[1024];
	size_t count;
};

static int take_range(void *arg, const char *disk, uint64_t offset,
		      uint64_t length, struct err *err)
{
	struct told *told = arg;

	(void)err;
	assert_true(*disk);
	assert_true(told->count < ARRAY_SIZE(told->ranges));
	told->ranges[told->count++] =
		(struct range){ .offset = offset, .length = length };
	return 0;
}

/* Units of two byte arrays that differ, told as ranges; `end`: the longer. */
static void expect_ranges(const uint8_t *a, const uint8_t *b, uint64_t end,
			  uint64_t unit, struct told *out)
{
	out->count = 0;
	for (uint64_t at = 0; at < end; at += unit) {
		uint64_t n = min_u64(unit, end - at);
		struct range *last =
			out->count ? &out->ranges[out->count - 1] : NULL;

		if (!memcmp(a + at, b + at, n))
			continue;
		if (last && last->offset + last->length == at)
			last->length += n;
		else
			out->ranges[out->count++] =
				(struct range){ .offset = at, .length = n };
	}
}

/* MODEL_BYTES and more: what a side holds, zeros behind its end. */
#define CONTENT_BYTES (MODEL_BYTES + (4u << 20))

static void content_of(struct bench *bench, const struct vms_diff_side *side,
		       uint8_t *out, uint64_t *size)
{
	struct vms_reader *reader;
	struct vms_cache *cache;
	struct err err = { 0 };

	memset(out, 0, CONTENT_BYTES);
	if (side->live) {
		struct image_queue *queue =
			image_queue_new(vms_live_image(side->live), 4, &err);

		*size = image_size(vms_live_image(side->live));
		assert_non_null(queue);
		assert_int_equal(image_read(queue, out, *size, 0), 0);
		image_queue_free(queue);
		return;
	}
	assert_done(vms_cache_new(&cache, 4u << 20, &err), &err);
	assert_done(vms_reader_open(&reader, bench->rig->vms, cache,
				    &side->snapshot->volumes[0], &err),
		    &err);
	*size = vms_reader_size(reader);
	assert_done(vms_reader_read(reader, out, *size, 0, &err), &err);
	vms_reader_close(reader);
	vms_cache_free(cache);
}

static void assert_diff(struct bench *bench, struct vms_diff_side a,
			struct vms_diff_side b, uint64_t unit)
{
	static struct told told, expected;
	static uint8_t contents[2][CONTENT_BYTES];
	struct vms_progress progress = { 0 };
	struct vms_diff_disk disk;
	uint64_t sizes[2], total = 0;
	struct err err = { 0 };

	content_of(bench, &a, contents[0], &sizes[0]);
	content_of(bench, &b, contents[1], &sizes[1]);
	expect_ranges(contents[0], contents[1], max_u64(sizes[0], sizes[1]),
		      unit, &expected);
	told.count = 0;
	assert_done(vms_diff_image(bench->rig->vms, &a, &b, take_range, &told,
				   &progress, &disk, &err),
		    &err);
	assert_int_equal(told.count, expected.count);
	for (size_t n = 0; n < told.count; n++) {
		assert_int_equal(told.ranges[n].offset,
				 expected.ranges[n].offset);
		assert_int_equal(told.ranges[n].length,
				 expected.ranges[n].length);
		total += told.ranges[n].length;
	}
	assert_int_equal(disk.differing_bytes, total);
	assert_int_equal(progress.total_bytes, max_u64(sizes[0], sizes[1]));
	assert_int_equal(progress.done_bytes, progress.total_bytes);
	progress.stop = true;
	assert_int_equal(vms_diff_image(bench->rig->vms, &a, &b, NULL, NULL,
					&progress, &disk, &err),
			 -ECANCELED);
	assert_int_equal(disk.size_a, sizes[0]);
	assert_int_equal(disk.size_b, sizes[1]);
	assert_true(disk.in_a && disk.in_b);
}

static struct vms_diff_side of_image(struct bench *bench)
{
	return (struct vms_diff_side){ .live = bench->live };
}

static struct vms_diff_side of_snapshot(const struct snapshot *snapshot)
{
	return (struct vms_diff_side){ .snapshot = snapshot };
}

/* Another image beside bench's, of the same store. */
static struct bench twin_of(struct bench *bench)
{
	struct bench twin = *bench;

	twin.path = strdup(engine_rig_path(bench->rig, "twin.vsi"));
	assert_non_null(twin.path);
	twin.live = NULL;
	twin.queue = NULL;
	return twin;
}

/* ---- tests ---- */

static void what_was_written(void **state)
{
	struct bench bench;
	uint8_t block[4096];
	uint64_t before;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	assert_diff(&bench, of_image(&bench), of_snapshot(&bench.snapshot),
		    RIG_CHUNK);
	/* The same bytes again, zeros on a hole: no difference. */
	assert_int_equal(
		image_write(bench.queue, bench.model + 8192, 4096, 8192), 0);
	memset(block, 0, sizeof(block));
	assert_int_equal(
		image_write(bench.queue, block, sizeof(block), 4u << 20), 0);
	assert_diff(&bench, of_image(&bench), of_snapshot(&bench.snapshot),
		    RIG_CHUNK);
	memset(block, 7, sizeof(block));
	assert_int_equal(image_write(bench.queue, block, sizeof(block),
				     (5u << 20) + 4096),
			 0);
	assert_diff(&bench, of_image(&bench), of_snapshot(&bench.snapshot),
		    RIG_CHUNK);
	/* Nothing is read but what layers have a part of. */
	shut(&bench);
	bench.rig->fault.path = "/packs/";
	engine_rig_open(bench.rig, STORE_READ, 2);
	reopen(&bench);
	before = atomic_load(&bench.rig->fault.bytes_read);
	assert_done(
		vms_diff_image(
			bench.rig->vms,
			&(struct vms_diff_side){ .live = bench.live },
			&(struct vms_diff_side){ .snapshot = &bench.snapshot },
			NULL, NULL, NULL, &(struct vms_diff_disk){ 0 }, NULL),
		&(struct err){ 0 });
	assert_in_range(atomic_load(&bench.rig->fault.bytes_read) - before,
			RIG_CHUNK, 16 * RIG_CHUNK);
	bench.rig->fault.path = NULL;
	end(&bench);
}

/* Images and snapshots of all sizes, over the same base and over others. */
static void each_from_each(void **state)
{
	static const uint64_t sizes[] = {
		(6u << 20) + 1000u,
		MODEL_BYTES + (3u << 20) + 100u,
		DISK_BYTES,
	};
	struct snapshot others[ARRAY_SIZE(sizes)] = { 0 };
	struct bench bench, twin;
	struct err err = { 0 };

	begin_disk(&bench, state);
	for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
		char name[8];

		snprintf(name, sizeof(name), "o%zu", n);
		engine_rig_disk(bench.rig, name, sizes[n]);
		engine_rig_write(bench.rig, name, 0, 2u << 20, 1);
		engine_rig_write(bench.rig, name, 5u << 20,
				 sizes[n] % (9u << 20), 2);
		engine_rig_write(bench.rig, name, sizes[n] - 300, 300, 9);
		engine_rig_backup(bench.rig, name, name, NULL, &others[n]);
	}
	create(&bench, 0);
	twin = twin_of(&bench);
	for (unsigned round = 0; round < 24; round++) {
		unsigned which = (unsigned)pick(&bench, ARRAY_SIZE(sizes));

		unlink(twin.path);
		for (unsigned n = 1; n < 4; n++) {
			char path[160];

			snprintf(path, sizeof(path), "%s.%u", twin.path, n);
			unlink(path);
		}
		twin.snapshot = others[which];
		if (round % 6 == 5)
			twin.snapshot.volume_count = 0; /* a blank one */
		create(&twin, (1 + pick(&bench, MODEL_BYTES / 512)) * 512);
		reopen(&bench);
		reopen(&twin);
		twin.random = round;
		if (round % 2)
			scribble(&twin, 12);
		if (round % 3)
			scribble(&bench, 3);
		if (round % 4 == 3) {
			assert_done(image_resize(vms_live_image(bench.live),
						 (1 + pick(&bench,
							   MODEL_BYTES / 512)) *
							 512,
						 &err),
				    &err);
		}
		assert_diff(&bench, of_image(&bench), of_image(&twin),
			    RIG_CHUNK);
		assert_diff(&bench, of_snapshot(&others[which]),
			    of_image(&bench), RIG_CHUNK);
		assert_diff(&bench, of_image(&twin),
			    of_snapshot(&bench.snapshot), RIG_CHUNK);
		shut(&bench);
		shut(&twin);
	}
	free(twin.path);
	for (size_t n = 0; n < ARRAY_SIZE(sizes); n++)
		snapshot_release(&others[n]);
	end(&bench);
}

/* The same bytes, in a chunk that the end of one base cuts short. */
static void at_the_end_of_a_base(void **state)
{
	const uint64_t cut = 3 * RIG_CHUNK + 1000;
	struct snapshot longer = { 0 };
	struct bench bench, twin;

	begin(&bench, state);
	engine_rig_disk(bench.rig, "cut", cut);
	engine_rig_write(bench.rig, "cut", 0, cut, 1);
	engine_rig_backup(bench.rig, "cut", "cut", NULL, &bench.snapshot);
	engine_rig_disk(bench.rig, "longer", 5 * RIG_CHUNK);
	engine_rig_write(bench.rig, "longer", 0, cut, 1);
	engine_rig_backup(bench.rig, "longer", "longer", NULL, &longer);
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	create(&bench, 5 * RIG_CHUNK);
	twin = twin_of(&bench);
	twin.snapshot = longer;
	create(&twin, 5 * RIG_CHUNK);
	reopen(&bench);
	reopen(&twin);
	assert_diff(&bench, of_image(&bench), of_image(&twin), RIG_CHUNK);
	assert_diff(&bench, of_snapshot(&longer), of_image(&bench), RIG_CHUNK);
	assert_diff(&bench, of_image(&twin), of_snapshot(&bench.snapshot),
		    RIG_CHUNK);
	shut(&twin);
	free(twin.path);
	snapshot_release(&longer);
	end(&bench);
}

/* Two blank ones need no store. */
static void of_nothing(void **state)
{
	struct vms_diff_disk disk;
	struct bench bench, twin;
	struct err err = { 0 };

	begin(&bench, state);
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	create(&bench, 1u << 20);
	twin = twin_of(&bench);
	create(&twin, (1u << 20) + 512);
	reopen(&bench);
	reopen(&twin);
	scribble(&twin, 5);
	assert_diff(&bench, of_image(&bench), of_image(&twin), RIG_CHUNK);
	assert_done(vms_diff_image(
			    NULL, &(struct vms_diff_side){ .live = bench.live },
			    &(struct vms_diff_side){ .live = twin.live }, NULL,
			    NULL, NULL, &disk, &err),
		    &err);
	assert_true(disk.differing_bytes > 0);
	shut(&twin);
	free(twin.path);
	end(&bench);
}

static void other_chunk_sizes(void **state)
{
	static const unsigned log2[] = { 14, 22 };
	struct vms_source source = { .disk = "disk0" };
	struct vms_backup backup = {
		.name = "b",
		.sources = &source,
		.source_count = 1,
	};
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 6);
	engine_rig_write(bench.rig, "a", 1u << 20, 4096, 9);
	source.location = engine_rig_path(bench.rig, "a");
	for (size_t n = 0; n < ARRAY_SIZE(log2); n++) {
		struct snapshot made = { 0 };

		backup.chunk_log2 = log2[n];
		assert_done(vms_backup(bench.rig->vms, &backup, &made, &err),
			    &err);
		assert_diff(&bench, of_image(&bench), of_snapshot(&made),
			    min_u64(RIG_CHUNK, 1u << log2[n]));
		snapshot_release(&made);
	}
	end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(what_was_written),     RIG_TEST(each_from_each),
		RIG_TEST(at_the_end_of_a_base), RIG_TEST(of_nothing),
		RIG_TEST(other_chunk_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
