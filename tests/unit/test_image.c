/* SPDX-License-Identifier: Apache-2.0 */
/* What an image does for those who read and write it. */
#include "tests/unit/image_files.h"

static void test_blank(void **state)
{
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	assert_int_equal(image_size(rig.image), SIZE);
	compare(&rig);
	do_write(&rig, 0, 4096, 1);
	do_write(&rig, 5 * UNIT + 8192, 3 * 4096, 2);
	do_write(&rig, SIZE - 4096, 4096, 3);
	do_write(&rig, UNIT - 4096, 5 * UNIT, 4);
	compare(&rig);
	assert_int_equal(image_flush(rig.queue), 0);
	compare(&rig);
	reopen(&rig);
	compare(&rig);
	free_rig(&rig);
}

static void test_sectors(void **state)
{
	struct rig rig;

	(void)state;
	for (int based = 0; based < 2; based++) {
		make_rig(&rig, based);
		do_write(&rig, 512, 512, 1);
		do_write(&rig, 3 * UNIT - 1024, 2048, 2);
		do_write(&rig, 4096 * 40 + 512, 4096 * 3, 3);
		do_write(&rig, 4096 * 40 + 1024, 512, 4);
		do_write(&rig, SIZE / 2 - 512, 1024, 5);
		compare(&rig);
		reopen(&rig);
		compare(&rig);
		free_rig(&rig);
	}
}

static void test_discard(void **state)
{
	struct rig rig;

	(void)state;
	for (int based = 0; based < 2; based++) {
		make_rig(&rig, based);
		do_write(&rig, 0, 4 * UNIT, 1);
		/* Whole units, blocks, and less than a block. */
		assert_int_equal(image_discard(rig.queue, 2 * UNIT, UNIT), 0);
		memset(rig.model + UNIT, 0, 2 * UNIT);
		assert_int_equal(image_discard(rig.queue, 8192 + 512, 4096), 0);
		memset(rig.model + 4096, 0, 8192);
		assert_int_equal(image_discard(rig.queue, 512, 512), 0);
		assert_int_equal(
			image_discard(rig.queue, 8192, 10 * UNIT + 4096), 0);
		memset(rig.model + 10 * UNIT + 4096, 0, 8192);
		compare(&rig);
		/* Into what was discarded. */
		do_write(&rig, UNIT + 4096, 4096, 2);
		do_write(&rig, 10 * UNIT + 4096 + 512, 512, 3);
		do_write(&rig, 10 * UNIT, 512, 4);
		compare(&rig);
		assert_int_equal(do_zero(&rig, 512, 4 * UNIT), 0);
		memset(rig.model + 512, 0, 4 * UNIT);
		assert_int_equal(do_zero(&rig, 20 * UNIT + 512, 512), 0);
		memset(rig.model + 20 * UNIT + 512, 0, 512);
		compare(&rig);
		reopen(&rig);
		compare(&rig);
		free_rig(&rig);
	}
}

/* Clusters that were given up are used again, and only after a flush. */
static void test_reuse(void **state)
{
	struct image_info info;
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	for (unsigned i = 0; i < 20; i++) {
		do_write(&rig, 0, 16 * UNIT, i);
		assert_int_equal(image_flush(rig.queue), 0);
		assert_int_equal(image_discard(rig.queue, 16 * UNIT, 0), 0);
		assert_int_equal(image_flush(rig.queue), 0);
	}
	assert_true(stack_top(rig.image->stack)->max_cluster <= 16);
	ok(image_get_info(rig.image, &info, &err));
	assert_int_equal(info.data_bytes, 0);
	assert_true(info.file_bytes < UNIT * 3);
	free_rig(&rig);
}

static void test_ranges(void **state)
{
	uint8_t buffer[4096];
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	assert_int_equal(image_read(rig.queue, buffer, 512, SIZE), -EINVAL);
	assert_int_equal(image_read(rig.queue, buffer, 1024, SIZE - 512),
			 -EINVAL);
	assert_int_equal(image_write(rig.queue, buffer, 100, 0), -EINVAL);
	assert_int_equal(image_write(rig.queue, buffer, 512, 100), -EINVAL);
	assert_int_equal(image_read(rig.queue, buffer, 512, UINT64_MAX - 511),
			 -EINVAL);
	assert_int_equal(image_discard(rig.queue, UINT64_MAX - 511, 512),
			 -EINVAL);
	assert_int_equal(image_read(rig.queue, buffer, 0, SIZE), 0);
	close_rig(&rig);
	open_rig(&rig, IMAGE_READ_ONLY);
	assert_int_equal(image_write(rig.queue, buffer, 512, 0), -EROFS);
	assert_int_equal(image_discard(rig.queue, 512, 0), -EROFS);
	assert_int_equal(image_flush(rig.queue), 0);
	assert_int_equal(image_seal(rig.image, &(uint64_t){ 0 }, &err), -EROFS);
	free_rig(&rig);
}

static void test_twice(void **state)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };
	struct image *second;
	struct rig rig;

	(void)state;
	make_rig(&rig, false);
	assert_int_equal(image_open(&second, rig.io, HEAD, &options, &err),
			 -EBUSY);
	options.mode = IMAGE_READ_ONLY;
	assert_int_equal(image_open(&second, rig.io, HEAD, &options, &err),
			 -EBUSY);
	assert_int_equal(image_remove(rig.io, HEAD, &err), -EBUSY);
	assert_int_equal(image_create(rig.io, HEAD, SIZE, NULL, &err), -EEXIST);
	close_rig(&rig);
	open_rig(&rig, IMAGE_READ_ONLY);
	ok(image_open(&second, rig.io, HEAD, &options, &err));
	ok(image_close(second, &err));
	close_rig(&rig);
	ok(image_remove(rig.io, HEAD, &err));
	assert_false(there(rig.io, HEAD));
	assert_false(there(rig.io, HEAD ".1"));
	assert_int_equal(sim_count(rig.sim).open_files, 0);
	free_rig(&rig);
}

struct flight {
	struct image_request request;
	uint8_t buffer[2 * IMAGE_CLUSTER_SIZE];
	bool busy;
	uint64_t mark;
};

static bool overlaps(const struct flight *flights, uint64_t offset,
		     uint64_t length)
{
	for (unsigned i = 0; i < 8; i++) {
		const struct image_request *r = &flights[i].request;

		if (flights[i].busy && offset < r->offset + r->length &&
		    r->offset < offset + length)
			return true;
	}
	return false;
}

static void begin(struct rig *rig, struct flight *flights,
		  struct flight *flight, uint64_t mark)
{
	struct image_request *request = &flight->request;
	uint64_t grain = sim_random(&rig->random, 2) ? 512 : 4096;
	uint64_t length =
		(1 + sim_random(&rig->random, sizeof(flight->buffer) / grain)) *
		grain;
	uint64_t offset =
		sim_random(&rig->random, (SIZE - length) / grain) * grain;
	static const enum image_op ops[] = { IMAGE_READ,  IMAGE_WRITE,
					     IMAGE_WRITE, IMAGE_DISCARD,
					     IMAGE_ZERO,  IMAGE_HIDE,
					     IMAGE_FLUSH };

	*request = (struct image_request){
		.op = ops[sim_random(&rig->random, ARRAY_SIZE(ops))],
		.offset = offset,
		.length = length,
		.buffer = flight->buffer,
		.owner = flight,
		.fua = !sim_random(&rig->random, 8),
	};
	if (request->op != IMAGE_FLUSH && overlaps(flights, offset, length))
		return;
	if (request->op == IMAGE_WRITE)
		pattern_fill(flight->buffer, length, offset, mark);
	flight->busy = true;
	image_submit(rig->queue, request);
}

static void end(struct rig *rig, struct flight *flight)
{
	const struct image_request *request = &flight->request;
	uint8_t *model = rig->model + request->offset;
	uint64_t from, to;

	assert_int_equal(request->result, 0);
	flight->busy = false;
	switch (request->op) {
	case IMAGE_READ:
		assert_memory_equal(flight->buffer, model, request->length);
		break;
	case IMAGE_WRITE:
		memcpy(model, flight->buffer, request->length);
		break;
	case IMAGE_ZERO:
	case IMAGE_HIDE:
		memset(model, 0, request->length);
		break;
	case IMAGE_DISCARD:
		from = div_up(request->offset, 4096) * 4096;
		to = (request->offset + request->length) / 4096 * 4096;
		if (from < to)
			memset(rig->model + from, 0, to - from);
		break;
	case IMAGE_FLUSH:
		break;
	}
}

static void drain(struct rig *rig, unsigned min)
{
	struct image_request *done[8];
	unsigned n = image_reap(rig->queue, min, done, 8);

	assert_true(n >= min);
	for (unsigned i = 0; i < n; i++)
		end(rig, done[i]->owner);
}

static unsigned count_busy(const struct flight *flights)
{
	unsigned count = 0;

	for (unsigned i = 0; i < 8; i++)
		count += flights[i].busy;
	return count;
}

/* Many requests under way at once, against a byte array. */
static void random_mix(bool based, unsigned short_io, uint64_t seed)
{
	struct flight *flights = calloc(8, sizeof(*flights));
	struct rig rig;
	uint64_t layer;

	assert_non_null(flights);
	make_rig(&rig, based);
	rig.random = seed;
	sim_set_short_io(rig.sim, short_io);
	for (unsigned i = 0; i < 1500; i++) {
		struct flight *flight = &flights[sim_random(&rig.random, 8)];

		if (!flight->busy)
			begin(&rig, flights, flight, i);
		else
			drain(&rig,
			      (unsigned)sim_random(&rig.random,
						   count_busy(flights) + 1));
		if (i % 400 == 399) {
			drain(&rig, count_busy(flights));
			compare(&rig);
			ok(image_seal(rig.image, &layer, &err));
			assert_int_equal(layer, i / 400 + 1);
		}
		if (i % 700 == 699) {
			drain(&rig, count_busy(flights));
			reopen(&rig);
			compare(&rig);
		}
	}
	drain(&rig, count_busy(flights));
	compare(&rig);
	reopen(&rig);
	compare(&rig);
	free_rig(&rig);
	free(flights);
}

static void test_random(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 6; seed++) {
		random_mix(false, 0, seed);
		random_mix(true, 0, seed);
		random_mix(true, 3, seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank),   cmocka_unit_test(test_sectors),
		cmocka_unit_test(test_discard), cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_ranges),  cmocka_unit_test(test_twice),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
