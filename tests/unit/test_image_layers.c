/* SPDX-License-Identifier: Apache-2.0 */
/* Seals, the base, extents, sizes, and images that are large in some way. */
#include "tests/unit/image_files.h"

static uint64_t seal(struct rig *rig)
{
	uint64_t layer = 0;

	ok(image_seal(rig->image, &layer, &err));
	return layer;
}

static void compare_at(struct rig *rig, uint64_t layer, const uint8_t *expected)
{
	uint8_t *buffer = malloc(SIZE);

	assert_non_null(buffer);
	assert_int_equal(image_read_at(rig->image, layer, buffer, SIZE, 0), 0);
	assert_memory_equal(buffer, expected, SIZE);
	free(buffer);
}

static void test_seal(void **state)
{
	uint8_t *first = malloc(SIZE);
	struct sim_counters before;
	struct rig rig;

	(void)state;
	assert_non_null(first);
	make_rig(&rig, true);
	do_write(&rig, 4096, 3 * UNIT, 1);
	memcpy(first, rig.model, SIZE);
	ok(image_prepare(rig.image, &err));
	before = sim_count(rig.sim);
	assert_int_equal(seal(&rig), 1);
	/* No device was asked for anything. */
	assert_int_equal(sim_count(rig.sim).ops, before.ops);
	do_write(&rig, 0, UNIT, 2);
	assert_int_equal(image_discard(rig.queue, UNIT, 2 * UNIT), 0);
	memset(rig.model + 2 * UNIT, 0, UNIT);
	compare(&rig);
	compare_at(&rig, 1, first);
	assert_int_equal(image_read_at(rig.image, 2, first, 512, 0), -EINVAL);
	assert_int_equal(image_seal_wait(rig.image, 2, &err), -EINVAL);
	ok(image_seal_wait(rig.image, 1, &err));
	assert_true(rig.image->stack->layers[0]->sealed);
	/* Durable, though nobody flushed. */
	sim_power_loss(rig.sim);
	image_queue_free(rig.queue);
	image_close(rig.image, NULL);
	sim_power_loss(rig.sim);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare_at(&rig, 1, first);
	free(first);
	free_rig(&rig);
}

/* What is under way at a seal still gets into what is sealed, or above it; it
 * is not lost, and the layer is not marked before. */
static void test_seal_under_way(void **state)
{
	struct image_request requests[4] = { 0 }, *done[4];
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, UNIT, 1);
	ok(image_prepare(rig.image, &err));
	for (unsigned i = 0; i < 4; i++) {
		/* Whole units, a part of a block, a discard. */
		requests[i].op = i < 3 ? IMAGE_WRITE : IMAGE_ZERO;
		requests[i].offset = i * 2 * UNIT + (i == 2 ? 512 : 0);
		requests[i].length = i == 2 ? 512 : UNIT;
		requests[i].buffer = rig.model + requests[i].offset;
		if (i < 3)
			pattern_fill(requests[i].buffer, requests[i].length,
				     requests[i].offset, i + 2);
		image_submit(rig.queue, &requests[i]);
	}
	assert_int_equal(seal(&rig), 1);
	assert_int_equal(image_seal_wait(rig.image, 1, &err), -EBUSY);
	assert_false(rig.image->stack->layers[0]->sealed);
	for (unsigned got = 0; got < 4;)
		got += image_reap(rig.queue, 1, done + got, 4 - got);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(requests[i].result, 0);
	compare(&rig);
	ok(image_seal_wait(rig.image, 1, &err));
	assert_true(rig.image->stack->layers[0]->sealed);
	/* All was submitted before the seal. */
	compare_at(&rig, 1, rig.model);
	sim_power_loss(rig.sim);
	image_queue_free(rig.queue);
	image_close(rig.image, NULL);
	sim_power_loss(rig.sim);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare_at(&rig, 1, rig.model);
	compare(&rig);
	free_rig(&rig);
}

/* Sealed layers beside the writer, which goes on. */
static void test_open_sealed(void **state)
{
	uint8_t *first = malloc(SIZE), *got = malloc(SIZE);
	struct image_options options = { .mode = IMAGE_SEALED };
	struct image *sealed;
	struct rig rig;

	(void)state;
	assert_true(first && got);
	make_rig(&rig, true);
	do_write(&rig, 4096, 3 * UNIT, 1);
	assert_int_equal(seal(&rig), 1);
	do_write(&rig, 6 * UNIT, 2 * UNIT, 2);
	assert_int_equal(seal(&rig), 2);
	memcpy(first, rig.model, SIZE);
	options.sealed_layer = 2;
	options.base = mem_base_new(rig.base, SIZE / 2);
	/* It is not marked yet. */
	assert_int_equal(image_open(&sealed, rig.io, HEAD, &options, &err),
			 -EINVAL);
	do_write(&rig, 0, 5 * UNIT, 3);
	ok(image_seal_wait(rig.image, 2, &err));
	options.base = mem_base_new(rig.base, SIZE / 2);
	ok(image_open(&sealed, rig.io, HEAD, &options, &err));
	do_write(&rig, 0, 5 * UNIT, 4);
	assert_int_equal(image_read_at(sealed, 2, got, SIZE, 0), 0);
	assert_memory_equal(got, first, SIZE);
	assert_int_equal(image_seal(sealed, &options.sealed_layer, &err),
			 -EROFS);
	ok(image_close(sealed, &err));
	/* None, and one that is still the top. */
	for (uint64_t layer = 0; layer < 4; layer += 3) {
		options.sealed_layer = layer;
		options.base = mem_base_new(rig.base, SIZE / 2);
		assert_int_equal(
			image_open(&sealed, rig.io, HEAD, &options, &err),
			-EINVAL);
	}
	compare(&rig);
	free_rig(&rig);
	free(first);
	free(got);
}

struct extents {
	struct {
		uint64_t offset, length;
		bool zero;
	} at[16];
	unsigned count;
};

static int add_extent(void *arg, uint64_t offset, uint64_t length, bool zero,
		      struct err *e)
{
	struct extents *extents = arg;

	(void)e;
	assert_true(extents->count < 16);
	extents->at[extents->count].offset = offset;
	extents->at[extents->count].length = length;
	extents->at[extents->count++].zero = zero;
	return 0;
}

static void test_extents(void **state)
{
	struct extents extents = { .count = 0 };
	struct image_extent extent;
	struct rig rig;
	uint64_t layer;

	(void)state;
	make_rig(&rig, true);
	do_write(&rig, 2 * UNIT, 2 * UNIT, 1);
	do_write(&rig, 70 * UNIT + 4096, 8192, 2);
	seal(&rig);
	do_write(&rig, 3 * UNIT, 4096, 3);
	assert_int_equal(image_discard(rig.queue, UNIT, 10 * UNIT), 0);
	layer = seal(&rig);
	do_write(&rig, 20 * UNIT, 4096, 4); /* of the top: not told */
	ok(image_sealed_extents(rig.image, layer, add_extent, &extents, &err));
	assert_int_equal(extents.count, 3);
	assert_int_equal(extents.at[0].offset, 2 * UNIT);
	assert_int_equal(extents.at[0].length, 2 * UNIT);
	assert_false(extents.at[0].zero);
	assert_int_equal(extents.at[1].offset, 10 * UNIT);
	assert_int_equal(extents.at[1].length, UNIT);
	assert_true(extents.at[1].zero);
	assert_int_equal(extents.at[2].offset, 70 * UNIT + 4096);
	assert_int_equal(extents.at[2].length, 8192);

	ok(image_extent(rig.image, 0, SIZE, &extent, &err));
	assert_int_equal(extent.kind, IMAGE_EXTENT_BASE);
	assert_int_equal(extent.length, 2 * UNIT);
	ok(image_extent(rig.image, 2 * UNIT + 512, SIZE, &extent, &err));
	assert_int_equal(extent.kind, IMAGE_EXTENT_DATA);
	assert_int_equal(extent.layer, 1);
	assert_int_equal(extent.length, UNIT - 512);
	ok(image_extent(rig.image, 10 * UNIT, 8192, &extent, &err));
	assert_int_equal(extent.kind, IMAGE_EXTENT_ZERO);
	assert_int_equal(extent.layer, 2);
	assert_int_equal(extent.length, 8192);
	ok(image_extent(rig.image, 71 * UNIT, SIZE, &extent, &err));
	assert_int_equal(extent.kind, IMAGE_EXTENT_ZERO);
	assert_int_equal(extent.layer, 0);
	assert_int_equal(extent.length, SIZE - 71 * UNIT);
	assert_int_equal(image_extent(rig.image, SIZE, 1, &extent, &err),
			 -EINVAL);
	free_rig(&rig);
}

static void test_swap(void **state)
{
	struct image_base_info info, found;
	struct image_options options = { .mode = IMAGE_READ_WRITE };
	unsigned closed = 0;
	struct image_base *base;
	struct rig rig;

	(void)state;
	make_rig(&rig, true);
	do_write(&rig, UNIT, UNIT, 1);
	seal(&rig);
	do_write(&rig, 3 * UNIT, UNIT, 2);
	seal(&rig);
	base = mem_base_new(rig.model, SIZE);
	container_of(base, struct mem_base, base)->closed = &closed;
	do_write(&rig, 4 * UNIT, UNIT, 3);
	mem_base_info(&info, SIZE);
	memset(info.root, 9, sizeof(info.root));
	ok(image_swap_base(rig.image, 2, &info, base, &err));
	compare(&rig);
	assert_false(there(rig.io, HEAD ".1"));
	assert_false(there(rig.io, HEAD ".2"));
	assert_true(there(rig.io, HEAD ".3"));
	assert_int_equal(closed, 0);
	/* The top is not sealed. */
	base = mem_base_new(rig.model, SIZE);
	assert_int_equal(image_swap_base(rig.image, 3, &info, base, &err),
			 -EINVAL);
	close_rig(&rig);
	assert_int_equal(closed, 1);
	ok(image_read_base_info(rig.io, HEAD, &found, &err));
	assert_memory_equal(&found, &info, sizeof(info));
	assert_int_equal(image_open(&rig.image, rig.io, HEAD, &options, &err),
			 -EINVAL);
	rig.image = NULL;
	options.base = mem_base_new(rig.model, SIZE);
	ok(image_open(&rig.image, rig.io, HEAD, &options, &err));
	rig.queue = image_queue_new(rig.image, 4, &err);
	compare(&rig);
	free_rig(&rig);
}

static void test_resize(void **state)
{
	uint8_t buffer[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, true);
	do_write(&rig, SIZE - UNIT, UNIT, 1);
	ok(image_resize(rig.image, UNIT + 512, &err));
	assert_int_equal(image_size(rig.image), UNIT + 512);
	assert_int_equal(image_read(rig.queue, buffer, 512, UNIT + 512),
			 -EINVAL);
	reopen(&rig);
	assert_int_equal(image_size(rig.image), UNIT + 512);
	ok(image_resize(rig.image, SIZE, &err));
	memset(rig.model + UNIT + 512, 0, SIZE - UNIT - 512);
	compare(&rig);
	assert_int_equal(image_resize(rig.image, 100, &err), -EINVAL);
	assert_int_equal(image_resize(rig.image, IMAGE_SIZE_MAX + 512, &err),
			 -EINVAL);
	free_rig(&rig);
}

static void test_compact(void **state)
{
	struct image_info before, after;
	uint64_t freed = 0;
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, 32 * UNIT, 1);
	assert_int_equal(image_flush(rig.queue), 0);
	/* A disk that can't give back: the clusters are known to nobody. */
	ok(image_get_info(rig.image, &before, &err));
	image_lock(rig.image);
	for (unsigned i = 0; i < 16; i++) {
		struct map_page *page =
			map_page_find(stack_top(rig.image->stack), 0);

		page->entries[i] = 0;
		map_entry_changed(page, i);
	}
	image_unlock(rig.image);
	memset(rig.model, 0, 16 * UNIT);
	compare(&rig);
	ok(image_compact(rig.image, &freed, &err));
	assert_int_equal(freed, 16 * UNIT);
	ok(image_get_info(rig.image, &after, &err));
	assert_int_equal(after.data_bytes, 16 * UNIT);
	assert_true(after.file_bytes + 15 * UNIT < before.file_bytes);
	compare(&rig);
	/* What was given back is used again. */
	do_write(&rig, 0, 16 * UNIT, 2);
	assert_int_equal(stack_top(rig.image->stack)->max_cluster, 32);
	reopen(&rig);
	compare(&rig);
	free_rig(&rig);
}

static void test_thousand_seals(void **state)
{
	struct rig rig;

	(void)state;
	make_rig(&rig, true);
	for (unsigned i = 0; i < 1000; i++) {
		do_write(&rig, (uint64_t)i * 3 % 2000 * 4096, 4096, i);
		assert_int_equal(seal(&rig), i + 1);
	}
	ok(image_seal_wait(rig.image, 1000, &err));
	assert_true(sim_count(rig.sim).open_files < 400);
	compare(&rig);
	assert_true(sim_count(rig.sim).open_files < 400);
	reopen(&rig);
	compare(&rig);
	free_rig(&rig);
}

static void test_64_tib(void **state)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };
	uint64_t last = IMAGE_SIZE_MAX - 4096;
	uint8_t data[4096], back[4096];
	struct image_extent extent;
	struct rig rig = { 0 };

	(void)state;
	rig.sim = sim_new(1);
	rig.io = sim_io(rig.sim);
	ok(image_create(rig.io, HEAD, IMAGE_SIZE_MAX, NULL, &err));
	ok(image_open(&rig.image, rig.io, HEAD, &options, &err));
	rig.queue = image_queue_new(rig.image, 4, &err);
	pattern_fill(data, sizeof(data), last, 1);
	assert_int_equal(image_write(rig.queue, data, sizeof(data), last), 0);
	assert_int_equal(image_flush(rig.queue), 0);
	/* All of it at once, and nothing is said of what is not there. */
	assert_int_equal(image_discard(rig.queue, last, 0), 0);
	assert_true(rig.image->map.count <= 2);
	ok(image_extent(rig.image, 0, IMAGE_SIZE_MAX, &extent, &err));
	assert_int_equal(extent.length, last);
	assert_int_equal(extent.kind, IMAGE_EXTENT_ZERO);
	reopen(&rig);
	assert_int_equal(image_read(rig.queue, back, sizeof(back), last), 0);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(image_read(rig.queue, back, sizeof(back), 1ULL << 45),
			 0);
	assert_true(bytes_are_zero(back, sizeof(back)));
	assert_int_equal(image_check(rig.io, HEAD, false, NULL, NULL, &err),
			 -EBUSY);
	close_rig(&rig);
	assert_int_equal(image_check(rig.io, HEAD, false, NULL, NULL, &err), 0);
	free_rig(&rig);
}

/* Tiny ones, far apart: each has a page of the map of its own. */
static void test_many_discards(void **state)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE,
					 .map_memory_bytes = 2 << 20 };
	uint64_t step = (uint64_t)PAGE_ENTRIES * UNIT;
	uint8_t zeros[8192] = { 0 };
	struct image_extent extent;
	struct rig rig = { 0 };
	uint64_t layer, size = 1 << 15;

	(void)state;
	rig.sim = sim_new(1);
	rig.io = sim_io(rig.sim);
	ok(image_create(rig.io, HEAD, IMAGE_SIZE_MAX, NULL, &err));
	ok(image_open(&rig.image, rig.io, HEAD, &options, &err));
	rig.queue = image_queue_new(rig.image, 4, &err);
	assert_int_equal(image_write(rig.queue, zeros, 8192, 4096), 0);
	ok(image_seal(rig.image, &layer, &err));
	/* A million, of which thirty-two thousand have their own page. */
	for (uint64_t i = 0; i < 1000000; i++) {
		uint64_t at = i % size * step + i / size * UNIT + 4096;
		int r = image_discard(rig.queue, 8192, at);

		if (r || rig.image->map.count > rig.image->map.max)
			fail_msg("discard %llu: %d, %zu pages",
				 (unsigned long long)i, r,
				 rig.image->map.count);
	}
	ok(image_extent(rig.image, 77 * step + 4096, 1 << 20, &extent, &err));
	assert_int_equal(extent.kind, IMAGE_EXTENT_ZERO);
	assert_int_equal(extent.layer, 2);
	assert_int_equal(extent.length, 8192);
	free_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_seal_under_way),
		cmocka_unit_test(test_open_sealed),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_swap),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_compact),
		cmocka_unit_test(test_thousand_seals),
		cmocka_unit_test(test_64_tib),
		cmocka_unit_test(test_many_discards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
