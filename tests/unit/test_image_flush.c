/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many syncs a flush costs, what a record with checks is worth without its
 * data, and what becomes of it when the sync that they share fails.
 */
#include "tests/unit/image_files.h"

#define LAYER HEAD ".1"

static uint64_t syncs(const struct rig *rig)
{
	return sim_count(rig->sim).syncs;
}

static void flush_costs(struct rig *rig, uint64_t expected)
{
	uint64_t before = syncs(rig);

	assert_int_equal(image_flush(rig->queue), 0);
	assert_int_equal(syncs(rig) - before, expected);
}

static void write_costs(struct rig *rig, uint64_t offset, size_t length,
			uint64_t mark, uint64_t expected)
{
	uint64_t before = syncs(rig);

	do_write(rig, offset, length, mark);
	assert_int_equal(syncs(rig) - before, expected);
}

/* The power goes; what was flushed is there. */
static void lose_power(struct rig *rig)
{
	sim_power_loss(rig->sim);
	image_queue_free(rig->queue);
	image_close(rig->image, NULL);
	open_rig(rig, IMAGE_READ_WRITE);
}

static void test_costs(void **state)
{
	struct rig rig;

	(void)state;
	make_rig(&rig, true);
	flush_costs(&rig, 0);
	write_costs(&rig, 0, 4096, 1, 0);
	flush_costs(&rig, 1);
	flush_costs(&rig, 0);
	/* More of the same unit, of others; a merge beneath; the most. */
	write_costs(&rig, 4096, 8192, 2, 0);
	write_costs(&rig, 3 * UNIT - 4096, 8192, 3, 0);
	write_costs(&rig, 5 * UNIT + 512, 512, 4, 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 8 * UNIT, 4 * UNIT, 5, 0);
	flush_costs(&rig, 1);
	/* Too many; what was nothing or is again; what needs no map. */
	write_costs(&rig, 16 * UNIT, 4 * UNIT + 4096, 6, 0);
	flush_costs(&rig, 2);
	write_costs(&rig, 24 * UNIT, 4096, 7, 0);
	assert_int_equal(do_zero(&rig, 16 * UNIT, UNIT), 0);
	memset(rig.model + 16 * UNIT, 0, UNIT);
	flush_costs(&rig, 2);
	write_costs(&rig, 16 * UNIT, 4096, 8, 0);
	flush_costs(&rig, 2);
	write_costs(&rig, 8 * UNIT, UNIT, 9, 0);
	flush_costs(&rig, 1);
	lose_power(&rig);
	compare(&rig);
	free_rig(&rig);
}

/* The end of a log that grows within a block: it is confirmed once. */
static void test_confirm(void **state)
{
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t at = i * 4096ULL;

		write_costs(&rig, at, 512, 1, 0);
		flush_costs(&rig, 1);
		write_costs(&rig, at + 512, 512, 2, 1);
		flush_costs(&rig, 1);
		write_costs(&rig, at + 1024, 512, 3, 0);
		flush_costs(&rig, 1);
	}
	lose_power(&rig);
	compare(&rig);
	/* Zeros are an overwrite too; a whole unit is not. */
	write_costs(&rig, 2 * UNIT, 2 * 4096, 4, 0);
	flush_costs(&rig, 1);
	assert_int_equal(do_zero(&rig, 2 * UNIT, 4096), 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 3 * UNIT, 4096, 5, 0);
	flush_costs(&rig, 1);
	assert_int_equal(do_zero(&rig, 3 * UNIT, UNIT), 0);
	flush_costs(&rig, 2);
	/* What is flushed between confirms it on its way. */
	write_costs(&rig, 5 * UNIT, 4096, 6, 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 0, 4096, 7, 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 5 * UNIT, 4096, 8, 0);
	write_costs(&rig, 6 * UNIT, 4096, 9, 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 7 * UNIT, 4096, 10, 0);
	flush_costs(&rig, 1);
	write_costs(&rig, 6 * UNIT, 4096, 11, 0);
	memset(rig.model + 2 * UNIT, 0, 4096);
	memset(rig.model + 3 * UNIT, 0, UNIT);
	flush_costs(&rig, 1);
	lose_power(&rig);
	compare(&rig);
	free_rig(&rig);
}

/* Durable when it returns, at the price of a flush; what else is under way
 * stays so. */
static void test_fua(void **state)
{
	struct image_request read = { .op = IMAGE_READ, .length = 4096 };
	struct image_request write = {
		.op = IMAGE_WRITE,
		.offset = UNIT,
		.length = 4096,
		.fua = true,
	};
	struct image_request *done = NULL;
	uint8_t buffer[4096];
	struct rig rig;
	uint64_t before;

	(void)state;
	make_rig(&rig, true);
	read.buffer = buffer;
	image_submit(rig.queue, &read);
	pattern_fill(rig.model + UNIT, 4096, UNIT, 1);
	write.buffer = rig.model + UNIT;
	before = syncs(&rig);
	assert_int_equal(image_request_run(rig.queue, &write), 0);
	assert_int_equal(syncs(&rig) - before, 1);
	assert_true(write.fua);
	flush_costs(&rig, 0);
	assert_int_equal(image_reap(rig.queue, 1, &done, 1), 1);
	assert_ptr_equal(done, &read);
	assert_int_equal(read.result, 0);
	assert_memory_equal(buffer, rig.model, 4096);
	lose_power(&rig);
	compare(&rig);
	/* What can't be made durable is not called so: the last step fails. */
	for (unsigned i = 2; i < 4; i++) {
		before = sim_count(rig.sim).ops;
		write.offset = i * UNIT;
		assert_int_equal(image_request_run(rig.queue, &write), 0);
	}
	write.offset = 4 * UNIT;
	sim_fail_at(rig.sim, 2 * sim_count(rig.sim).ops - before, -EIO, false);
	assert_int_equal(image_request_run(rig.queue, &write), -EIO);
	image_queue_free(rig.queue);
	assert_int_equal(image_close(rig.image, &err), -EIO);
	rig.image = NULL;
	free_rig(&rig);
}

static uint64_t cluster_at(const struct rig *rig, uint64_t cluster)
{
	return layer_cluster_at(&stack_top(rig->image->stack)->super, cluster);
}

static uint64_t mark_at(struct rig *rig, uint64_t offset)
{
	uint8_t data[4096], expected[4096];

	assert_int_equal(image_read(rig->queue, data, 4096, offset), 0);
	if (bytes_are_zero(data, 4096))
		return 0;
	for (uint64_t mark = 1; mark < 5; mark++) {
		pattern_fill(expected, 4096, offset, mark);
		if (memcmp(expected, data, 4096) == 0)
			return mark;
	}
	return 99;
}

/* A bit of a block of cluster `hurt` is other than its record says: marks of
 * unit 0 and 1, to readers as to writers. */
static void hurt_cluster(uint64_t hurt, uint64_t first, uint64_t second)
{
	struct rig rig;
	uint64_t at;

	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	assert_int_equal(image_flush(rig.queue), 0);
	do_write(&rig, UNIT, 4096, 2);
	do_write(&rig, UNIT + 3 * 4096, 4096, 3);
	assert_int_equal(image_flush(rig.queue), 0);
	at = cluster_at(&rig, hurt);
	sim_power_loss(rig.sim);
	image_queue_free(rig.queue);
	image_close(rig.image, NULL);
	if (hurt)
		assert_int_equal(sim_flip(rig.sim, LAYER, at + 17, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		open_rig(&rig, i ? IMAGE_READ_WRITE : IMAGE_READ_ONLY);
		assert_int_equal(mark_at(&rig, 0), first);
		assert_int_equal(mark_at(&rig, UNIT), second);
		assert_int_equal(mark_at(&rig, UNIT + 3 * 4096),
				 second ? 3 : 0);
		if (i == 1)
			do_write(&rig, 5 * UNIT, 4096, 4);
		close_rig(&rig);
	}
	free_rig(&rig);
}

static void test_data_missing(void **state)
{
	(void)state;
	hurt_cluster(0, 1, 2);
	/* The last record's; one that is confirmed. */
	hurt_cluster(2, 1, 0);
	hurt_cluster(1, 99, 2);
}

/*
 * After the failed sync the cache shows what the disk lacks, or not; the image
 * is opened anew at once. What it shows then, and says is durable, must be
 * there after a loss of power.
 */
static void failed_sync(unsigned blocks)
{
	uint8_t data[4096], before[4096];
	struct rig rig;

	make_rig(&rig, false);
	for (unsigned i = 0; i < blocks; i++)
		do_write(&rig, i * 4096ULL, 4096, 1);
	sim_fail_at(rig.sim, sim_count(rig.sim).ops + 2, -EIO, false);
	assert_int_equal(image_flush(rig.queue), -EIO);
	image_queue_free(rig.queue);
	assert_int_equal(image_close(rig.image, &err), -EIO);
	open_rig(&rig, IMAGE_READ_WRITE);
	assert_int_equal(image_read(rig.queue, before, 4096, 0), 0);
	do_write(&rig, 9 * UNIT, 4096, 2);
	assert_int_equal(image_flush(rig.queue), 0);
	lose_power(&rig);
	assert_int_equal(image_read(rig.queue, data, 4096, 0), 0);
	assert_memory_equal(before, data, 4096);
	free_rig(&rig);
}

static void test_failed_sync(void **state)
{
	(void)state;
	for (unsigned blocks = 1; blocks < 33; blocks++)
		failed_sync(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_confirm),
		cmocka_unit_test(test_fua),
		cmocka_unit_test(test_data_missing),
		cmocka_unit_test(test_failed_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
