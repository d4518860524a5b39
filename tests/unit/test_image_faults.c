/* SPDX-License-Identifier: Apache-2.0 */
/* A full disk, failing disks, damage, and what check and repair say of it. */
#include <stdio.h>

#include "tests/unit/image_files.h"

struct reports {
	unsigned count;
	uint64_t offset[8], length[8];
	char what[8][160];
};

static void on_damage(void *arg, uint64_t offset, uint64_t length,
		      const char *what)
{
	struct reports *reports = arg;

	if (reports->count >= 8)
		return;
	reports->offset[reports->count] = offset;
	reports->length[reports->count] = length;
	snprintf(reports->what[reports->count++], 160, "%s", what);
}

static void on_breach(void *arg, const char *file, const char *what,
		      uint64_t offset, uint64_t length)
{
	(void)file;
	on_damage(arg, offset, length, what);
}

static void flip(struct rig *rig, const char *path, uint64_t offset)
{
	assert_int_equal(sim_flip(rig->sim, path, offset, 0), 0);
}

static void test_full(void **state)
{
	uint8_t data[4096];
	struct rig rig;
	int r = 0;

	(void)state;
	make_rig(&rig, true);
	do_write(&rig, 0, 16 * UNIT, 1);
	assert_int_equal(image_flush(rig.queue), 0);
	sim_set_capacity(rig.sim, sim_count(rig.sim).used_bytes + 65536);
	pattern_fill(data, sizeof(data), 40 * UNIT, 2);
	for (unsigned i = 0; !r; i++) {
		assert_true(i < 1000);
		r = image_write(rig.queue, data, sizeof(data),
				40 * UNIT + i * 4096ULL);
		if (!r) {
			memcpy(rig.model + 40 * UNIT + i * 4096ULL, data,
			       sizeof(data));
		}
	}
	assert_int_equal(r, -ENOSPC);
	/* All else goes on: in place, reads, flushes. */
	do_write(&rig, UNIT, 4096, 3);
	assert_int_equal(image_flush(rig.queue), 0);
	compare(&rig);
	sim_set_capacity(rig.sim, 0);
	do_write(&rig, 41 * UNIT, 8 * UNIT, 4);
	assert_int_equal(image_flush(rig.queue), 0);
	sim_power_loss(rig.sim);
	image_queue_free(rig.queue);
	image_close(rig.image, NULL);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare(&rig);
	free_rig(&rig);
}

/* Each operation of a write and a flush fails in turn. */
static void test_errors(void **state)
{
	uint8_t data[8192];
	unsigned failed = 0;

	(void)state;
	for (uint64_t n = 1; n < 8; n++) {
		struct rig rig;
		int r;

		make_rig(&rig, true);
		do_write(&rig, 0, UNIT, 1);
		pattern_fill(data, sizeof(data), 2 * UNIT, 2);
		sim_fail_at(rig.sim, sim_count(rig.sim).ops + n, -EIO, false);
		r = image_write(rig.queue, data, sizeof(data), 2 * UNIT);
		if (!r)
			r = image_flush(rig.queue);
		failed += r < 0;
		if (!r) {
			sim_fail_at(rig.sim, 0, 0, false);
			free_rig(&rig);
			continue;
		}
		assert_int_equal(r, -EIO);
		/* Once more: honest, whatever it says. */
		r = image_write(rig.queue, data, sizeof(data), 2 * UNIT);
		if (!r)
			r = image_flush(rig.queue);
		if (!r)
			memcpy(rig.model + 2 * UNIT, data, sizeof(data));
		image_queue_free(rig.queue);
		sim_power_loss(rig.sim);
		image_close(rig.image, NULL);
		open_rig(&rig, IMAGE_READ_WRITE);
		if (!r)
			compare(&rig);
		free_rig(&rig);
	}
	assert_true(failed >= 3); /* the data, its record, their sync */
}

/* With data and record in two syncs, or in one. */
static uint64_t op_of_record(struct rig *rig, bool two_syncs)
{
	if (!two_syncs)
		return sim_count(rig->sim).ops + 1;
	assert_int_equal(do_zero(rig, 2 * UNIT, UNIT), 0);
	do_write(rig, 2 * UNIT, 4096, 9);
	assert_int_equal(image_flush(rig->queue), 0);
	assert_int_equal(do_zero(rig, 2 * UNIT, UNIT), 0);
	memset(rig->model + 2 * UNIT, 0, UNIT);
	return sim_count(rig->sim).ops + 2;
}

/* A sync that failed is failed for good: later ones don't cover it up. */
static void failed_flush(bool two_syncs)
{
	struct rig rig;
	uint64_t op;

	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	op = op_of_record(&rig, two_syncs);
	sim_fail_at(rig.sim, two_syncs ? op - 1 : op + 1, -EIO, false);
	assert_int_equal(image_flush(rig.queue), -EIO);
	assert_int_equal(image_flush(rig.queue), -EIO);
	do_write(&rig, UNIT, 4096, 2);
	compare(&rig);
	assert_int_equal(image_flush(rig.queue), -EIO);
	image_queue_free(rig.queue);
	assert_int_equal(image_close(rig.image, &err), -EIO);
	open_rig(&rig, IMAGE_READ_WRITE);
	assert_int_equal(image_flush(rig.queue), 0);
	free_rig(&rig);
}

static void test_failed_flush(void **state)
{
	(void)state;
	failed_flush(true);
	failed_flush(false);
}

/* A head that was not written for sure is written anew before a flush. */
static void test_failed_resize(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (uint64_t n = 1; n < 12; n++) {
		struct rig rig;
		int r;

		make_rig(&rig, false);
		do_write(&rig, SIZE - UNIT, UNIT, 1);
		assert_int_equal(image_flush(rig.queue), 0);
		sim_fail_at(rig.sim, sim_count(rig.sim).ops + n, -EIO, false);
		r = image_resize(rig.image, SIZE - UNIT, &err);
		sim_fail_at(rig.sim, 0, 0, false);
		if (!r) {
			free_rig(&rig);
			continue;
		}
		assert_int_equal(image_size(rig.image), SIZE);
		pattern_fill(rig.model + SIZE - UNIT, UNIT, SIZE - UNIT, 2);
		r = image_write(rig.queue, rig.model + SIZE - UNIT, UNIT,
				SIZE - UNIT);
		if (!r)
			r = image_flush(rig.queue);
		image_queue_free(rig.queue);
		image_close(rig.image, NULL);
		open_rig(&rig, IMAGE_READ_WRITE);
		if (!r) {
			failed++;
			assert_int_equal(image_size(rig.image), SIZE);
			compare(&rig);
		}
		free_rig(&rig);
	}
	assert_true(failed >= 2); /* the head's write, its sync */
}

/* A record that could not be written is written again. */
static void failed_record(bool two_syncs)
{
	struct rig rig;
	uint64_t op;

	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	op = op_of_record(&rig, two_syncs);
	sim_fail_at(rig.sim, op, -ENOSPC, false);
	assert_int_equal(image_flush(rig.queue), -ENOSPC);
	assert_int_equal(image_flush(rig.queue), 0);
	sim_power_loss(rig.sim);
	image_queue_free(rig.queue);
	image_close(rig.image, NULL);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare(&rig);
	free_rig(&rig);
}

static void test_failed_record(void **state)
{
	(void)state;
	failed_record(true);
	failed_record(false);
}

static void test_base_fails(void **state)
{
	struct mem_base *mem;
	uint8_t data[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, true);
	mem = container_of(rig.image->stack->base->base, struct mem_base, base);
	mem->bad_from = 3 * UNIT;
	mem->bad_to = 4 * UNIT;
	assert_int_equal(image_read(rig.queue, data, 4096, 3 * UNIT), -EIO);
	assert_int_equal(image_read(rig.queue, data, 4096, 4 * UNIT), 0);
	/* A part of such a block can't be written, all of it can. */
	assert_int_equal(image_write(rig.queue, data, 512, 3 * UNIT), -EIO);
	do_write(&rig, 3 * UNIT, 4096, 1);
	assert_int_equal(image_read(rig.queue, data, 4096, 3 * UNIT), 0);
	assert_memory_equal(data, rig.model + 3 * UNIT, 4096);
	free_rig(&rig);
}

static void open_damaged(struct rig *rig, struct reports *reports)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE,
					 .damage = on_damage,
					 .arg = reports };
	struct reports ignored = { 0 };

	memset(reports, 0, sizeof(*reports));
	options.arg = &ignored;
	assert_int_equal(image_open(&rig->image, rig->io, HEAD, &options, &err),
			 -EBADMSG);
	assert_true(ignored.count > 0);
	options.mode = IMAGE_READ_ONLY;
	options.arg = reports;
	ok(image_open(&rig->image, rig->io, HEAD, &options, &err));
	rig->queue = image_queue_new(rig->image, 4, &err);
	assert_non_null(rig->queue);
}

static void test_bad_sector(void **state)
{
	uint64_t hurt = MAP_SECTOR_ENTRIES * UNIT;
	struct reports reports;
	uint8_t data[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	do_write(&rig, hurt + UNIT, 4096, 2);
	close_rig(&rig);
	flip(&rig, HEAD ".1",
	     JOURNAL_OFFSET + image_journal_length + MAP_SECTOR_SIZE + 8);
	open_damaged(&rig, &reports);
	assert_int_equal(reports.count, 1);
	assert_int_equal(reports.offset[0], hurt);
	assert_int_equal(reports.length[0], hurt);
	assert_int_equal(image_read(rig.queue, data, 4096, 0), 0);
	assert_memory_equal(data, rig.model, 4096);
	assert_int_equal(image_read(rig.queue, data, 4096, hurt - 4096), 0);
	assert_int_equal(image_read(rig.queue, data, 4096, hurt), -EIO);
	assert_int_equal(image_read(rig.queue, data, 4096, hurt + UNIT), -EIO);
	close_rig(&rig);

	memset(&reports, 0, sizeof(reports));
	assert_int_equal(
		image_check(rig.io, HEAD, false, on_breach, &reports, &err), 1);
	assert_int_equal(reports.offset[0], hurt);
	assert_int_equal(image_check(rig.io, HEAD, true, NULL, NULL, &err), 1);
	assert_int_equal(image_check(rig.io, HEAD, false, NULL, NULL, &err), 0);
	memset(rig.model + hurt + UNIT, 0, 4096);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare(&rig);
	free_rig(&rig);
}

static void test_bad_superblocks(void **state)
{
	struct reports reports;
	uint8_t data[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	close_rig(&rig);
	/* One of each: all is well, and check says so. */
	flip(&rig, HEAD, 4096 + 60);
	flip(&rig, HEAD ".1", 60);
	open_rig(&rig, IMAGE_READ_ONLY);
	close_rig(&rig);
	assert_int_equal(image_check(rig.io, HEAD, true, NULL, NULL, &err), 2);
	assert_int_equal(image_check(rig.io, HEAD, false, NULL, NULL, &err), 0);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare(&rig);
	close_rig(&rig);
	flip(&rig, HEAD ".1", 60);
	flip(&rig, HEAD ".1", 4096 + 60);
	open_damaged(&rig, &reports);
	assert_int_equal(reports.offset[0], 0);
	assert_int_equal(reports.length[0], SIZE);
	assert_int_equal(image_read(rig.queue, data, 4096, 0), -EIO);
	close_rig(&rig);
	assert_int_equal(image_check(rig.io, HEAD, true, NULL, NULL, &err), 1);
	flip(&rig, HEAD, 60);
	flip(&rig, HEAD, 4096 + 60);
	assert_int_equal(image_check(rig.io, HEAD, true, NULL, NULL, &err),
			 -EBADMSG);
	free_rig(&rig);
}

static void seal_two(struct rig *rig)
{
	uint64_t layer;

	for (unsigned i = 0; i < 2; i++) {
		do_write(rig, i * UNIT, 4096, i + 1);
		ok(image_seal(rig->image, &layer, &err));
		ok(image_seal_wait(rig->image, layer, &err));
	}
	do_write(rig, 2 * UNIT, 4096, 3);
	close_rig(rig);
}

static void test_missing_layer(void **state)
{
	struct reports reports;
	uint8_t data[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	seal_two(&rig);
	assert_int_equal(rig.io->ops->unlink(rig.io, HEAD ".2", &err), 0);
	open_damaged(&rig, &reports);
	assert_non_null(strstr(reports.what[0], "layer 2"));
	assert_int_equal(image_read(rig.queue, data, 4096, 2 * UNIT), 0);
	assert_memory_equal(data, rig.model + 2 * UNIT, 4096);
	assert_int_equal(image_read(rig.queue, data, 4096, 0), -EIO);
	close_rig(&rig);
	assert_true(image_check(rig.io, HEAD, false, NULL, NULL, &err) > 0);
	assert_int_equal(rig.io->ops->unlink(rig.io, HEAD ".3", &err), 0);
	open_damaged(&rig, &reports);
	free_rig(&rig);
}

static void test_foreign_layer(void **state)
{
	struct reports reports;
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	seal_two(&rig);
	ok(image_create(rig.io, "/e.vsi", SIZE, NULL, &err));
	assert_int_equal(
		rig.io->ops->rename(rig.io, "/e.vsi.1", HEAD ".1", &err), 0);
	open_damaged(&rig, &reports);
	assert_non_null(strstr(reports.what[0], "another image"));
	close_rig(&rig);
	assert_true(image_check(rig.io, HEAD, false, NULL, NULL, &err) > 0);
	free_rig(&rig);
}

/* Cut off before the last clusters: what they held is EIO, not zeros. */
static void test_cut_off(void **state)
{
	struct reports reports;
	uint8_t data[4096];
	struct io_stat st;
	struct rig rig;
	int file;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, 20 * UNIT, 1);
	close_rig(&rig);
	file = open_file(rig.io, HEAD ".1", IO_READ_WRITE);
	assert_int_equal(rig.io->ops->fstat(rig.io, file, &st, &err), 0);
	/* What a writer takes in advance does not count. */
	assert_int_equal(
		rig.io->ops->truncate(rig.io, file, 8726380544ULL + 10 * UNIT),
		0);
	close_file(rig.io, file);
	open_damaged(&rig, &reports);
	assert_int_equal(image_read(rig.queue, data, 4096, 9 * UNIT), 0);
	assert_int_equal(image_read(rig.queue, data, 4096, 10 * UNIT), -EIO);
	close_rig(&rig);
	assert_true(image_check(rig.io, HEAD, false, NULL, NULL, &err) >= 10);
	free_rig(&rig);
}

static void test_named_twice(void **state)
{
	struct reports reports = { 0 };
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	do_write(&rig, 0, 4096, 1);
	do_write(&rig, 5 * UNIT, 4096, 2);
	image_lock(rig.image);
	map_page_find(stack_top(rig.image->stack), 0)->entries[5] =
		entry_make(1, 1);
	image_unlock(rig.image);
	close_rig(&rig);
	assert_int_equal(
		image_check(rig.io, HEAD, true, on_breach, &reports, &err), 1);
	assert_int_equal(reports.offset[0], 5 * UNIT);
	assert_int_equal(reports.length[0], UNIT);
	assert_int_equal(image_check(rig.io, HEAD, false, NULL, NULL, &err), 0);
	memset(rig.model + 5 * UNIT, 0, 4096);
	open_rig(&rig, IMAGE_READ_WRITE);
	compare(&rig);
	free_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_failed_flush),
		cmocka_unit_test(test_failed_resize),
		cmocka_unit_test(test_failed_record),
		cmocka_unit_test(test_base_fails),
		cmocka_unit_test(test_bad_sector),
		cmocka_unit_test(test_bad_superblocks),
		cmocka_unit_test(test_missing_layer),
		cmocka_unit_test(test_foreign_layer),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_named_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
