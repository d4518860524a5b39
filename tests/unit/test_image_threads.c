/* SPDX-License-Identifier: Apache-2.0 */
/* Images on the real kernel: several threads, helpers, descriptors. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/image/image_private.h"
#include "tests/rig/fault_io.h"
#include "tests/rig/image_model.h"
#include "tests/rig/image_rig.h"

#define THREADS   4u
#define REGION    (4ULL << 20)
#define SIZE      (THREADS * REGION)
#define DEPTH     8u
#define UNIT_SIZE IMAGE_CLUSTER_SIZE

struct rig {
	struct vs_io *io;
	char dir[64];
	char path[96];
	uint8_t *base;
	size_t base_size;
	struct image *image;
};

struct worker {
	struct rig *rig;
	unsigned number;
	uint64_t random;
	uint8_t *model; /* of its region */
	int wrong;
};

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

static void open_image(struct rig *rig)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };

	options.base = mem_base_new(rig->base, rig->base_size);
	ok(image_open(&rig->image, rig->io, rig->path, &options, &err));
}

static void make_rig(struct rig *rig, struct vs_io *io)
{
	const char *temp = getenv("TMPDIR");
	struct image_base_info info;

	assert_non_null(io);
	memset(rig, 0, sizeof(*rig));
	rig->io = io;
	snprintf(rig->dir, sizeof(rig->dir), "%.40s/image-XXXXXX",
		 temp ? temp : "/tmp");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/d.vsi", rig->dir);
	rig->base_size = SIZE / 2;
	rig->base = malloc(SIZE / 2);
	assert_non_null(rig->base);
	pattern_fill(rig->base, SIZE / 2, 0, 777);
	mem_base_info(&info, SIZE / 2);
	ok(image_create(rig->io, rig->path, SIZE, &info, &err));
	open_image(rig);
}

static void free_rig(struct rig *rig)
{
	ok(image_close(rig->image, &err));
	ok(image_remove(rig->io, rig->path, &err));
	assert_int_equal(rmdir(rig->dir), 0);
	free(rig->base);
	io_free(rig->io);
}

struct flight {
	struct image_request request;
	bool busy;
	uint8_t buffer[2 * IMAGE_CLUSTER_SIZE];
};

static bool overlaps(const struct flight *flights, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct image_request *r = &flights[i].request;

		if (flights[i].busy && from < r->offset + r->length &&
		    r->offset < to)
			return true;
	}
	return false;
}

static void submit(struct worker *worker, struct image_queue *queue,
		   struct flight *flights, struct flight *flight)
{
	static const enum image_op ops[] = { IMAGE_READ,    IMAGE_READ,
					     IMAGE_WRITE,   IMAGE_WRITE,
					     IMAGE_DISCARD, IMAGE_ZERO,
					     IMAGE_HIDE,    IMAGE_FLUSH };
	uint64_t grain = sim_random(&worker->random, 2) ? 512 : 4096;
	uint64_t length = (1 + sim_random(&worker->random,
					  sizeof(flight->buffer) / grain)) *
			  grain;
	uint64_t offset =
		worker->number * REGION +
		sim_random(&worker->random, (REGION - length) / grain) * grain;

	if (overlaps(flights, offset, offset + length))
		return;
	flight->request = (struct image_request){
		.op = ops[sim_random(&worker->random, ARRAY_SIZE(ops))],
		.offset = offset,
		.length = length,
		.buffer = flight->buffer,
		.fua = !sim_random(&worker->random, 16),
		.more = sim_random(&worker->random, 2),
		.owner = flight,
	};
	if (flight->request.op == IMAGE_WRITE)
		pattern_fill(flight->buffer, length, offset,
			     sim_random(&worker->random, 1 << 20));
	flight->busy = true;
	image_submit(queue, &flight->request);
}

static void complete(struct worker *worker, struct flight *flight)
{
	const struct image_request *request = &flight->request;
	uint64_t at = request->offset - worker->number * REGION, from, to;

	flight->busy = false;
	if (request->result < 0) {
		worker->wrong = request->result;
		return;
	}
	switch (request->op) {
	case IMAGE_READ:
		if (memcmp(worker->model + at, flight->buffer,
			   request->length) != 0)
			worker->wrong = -EILSEQ;
		break;
	case IMAGE_WRITE:
		memcpy(worker->model + at, flight->buffer, request->length);
		break;
	case IMAGE_ZERO:
	case IMAGE_HIDE:
		memset(worker->model + at, 0, request->length);
		break;
	case IMAGE_DISCARD:
		from = div_up(at, 4096) * 4096;
		to = (at + request->length) / 4096 * 4096;
		if (from < to)
			memset(worker->model + from, 0, to - from);
		break;
	case IMAGE_FLUSH:
		break;
	}
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct flight *flights = calloc(DEPTH, sizeof(*flights));
	struct image_queue *queue =
		image_queue_new(worker->rig->image, DEPTH, NULL);
	struct image_request *done[DEPTH];
	unsigned busy = 0;

	if (!flights || !queue)
		abort();
	for (unsigned i = 0; i < 600 || busy; i++) {
		struct flight *flight =
			&flights[sim_random(&worker->random, DEPTH)];
		unsigned n;

		if (i < 600 && !flight->busy) {
			submit(worker, queue, flights, flight);
			busy += flight->busy;
			continue;
		}
		n = image_reap(queue, 1, done, DEPTH);
		for (unsigned k = 0; k < n; k++)
			complete(worker, done[k]->owner);
		busy -= n;
	}
	image_queue_free(queue);
	free(flights);
	return NULL;
}

static void check_all(struct rig *rig, struct worker *workers)
{
	struct image_queue *queue = image_queue_new(rig->image, 4, &err);
	uint8_t *buffer = malloc(REGION);

	assert_non_null(queue);
	assert_non_null(buffer);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(image_read(queue, buffer, REGION, i * REGION),
				 0);
		assert_memory_equal(buffer, workers[i].model, REGION);
	}
	free(buffer);
	image_queue_free(queue);
}

/* The sealed layers up to 2 become a base, under those at work. */
static void absorb(struct rig *rig)
{
	struct image_base_info info;

	free(rig->base);
	rig->base_size = SIZE;
	rig->base = malloc(SIZE);
	assert_non_null(rig->base);
	assert_int_equal(image_read_at(rig->image, 2, rig->base, SIZE, 0), 0);
	mem_base_info(&info, SIZE);
	ok(image_swap_base(rig->image, 2, &info, mem_base_new(rig->base, SIZE),
			   &err));
}

static void run_workers(struct worker *workers, bool with_absorb)
{
	pthread_t threads[THREADS];
	uint64_t freed;

	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, work, &workers[i]),
			0);
	if (with_absorb) {
		absorb(workers[0].rig);
		ok(image_compact(workers[0].rig->image, &freed, &err));
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(workers[i].wrong, 0);
}

static void mix(struct vs_io *io)
{
	struct worker workers[THREADS] = { 0 };
	uint8_t *model = calloc(1, SIZE);
	uint64_t layer;
	struct rig rig;

	make_rig(&rig, io);
	assert_non_null(model);
	memcpy(model, rig.base, SIZE / 2);
	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){ .rig = &rig,
					      .number = i,
					      .random = i,
					      .model = model + i * REGION };
	for (unsigned round = 0; round < 3; round++) {
		run_workers(workers, false);
		check_all(&rig, workers);
		ok(image_seal(rig.image, &layer, &err));
		assert_int_equal(layer, round + 1);
	}
	run_workers(workers, true);
	check_all(&rig, workers);
	ok(image_close(rig.image, &err));
	open_image(&rig);
	check_all(&rig, workers);
	free_rig(&rig);
	free(model);
}

static void test_uring(void **state)
{
	struct vs_io *io = io_new_uring(&err);

	(void)state;
	if (!io) {
		printf("no io_uring here: %s\n", err.text);
		skip();
	}
	mix(io);
}

static void test_plain(void **state)
{
	(void)state;
	mix(io_new_plain(&err));
	mix(io_new_threads(&err));
}

/* ---- seals under way ---- */

#define SEALS  24u
#define PIECES 5u /* of what a worker writes in one round */

struct counter {
	struct rig *rig;
	uint64_t start;
	_Atomic bool *stop;
	int wrong;
};

/* Round after round into one piece after the other; each is done before the
 * next begins. */
static void *count_up(void *arg)
{
	struct counter *counter = arg;
	struct image_queue *queue =
		image_queue_new(counter->rig->image, 2, &err);
	uint8_t *buffer = malloc(UNIT_SIZE);

	for (uint64_t round = 1; !*counter->stop; round++) {
		for (unsigned i = 0; i < PIECES; i++) {
			uint64_t at = counter->start + i * UNIT_SIZE;

			pattern_fill(buffer, UNIT_SIZE, at, round);
			if (image_write(queue, buffer, UNIT_SIZE, at) ||
			    (i == 2 && image_flush(queue)))
				counter->wrong++;
		}
	}
	free(buffer);
	image_queue_free(queue);
	return NULL;
}

static uint32_t round_of(const uint8_t *unit, uint64_t at)
{
	uint32_t mark = model_mark_of(unit, at);

	for (size_t i = 512; i < UNIT_SIZE; i += 512)
		assert_int_equal(model_mark_of(unit + i, at + i), mark);
	return mark;
}

/* What is sealed is where one worker stood: the earlier pieces are of this
 * round, the later ones of the one before; the one between, of which a part
 * may be on its way, is one of both. */
static void check_cut(struct rig *rig, uint64_t layer, unsigned worker,
		      uint8_t *units)
{
	uint64_t start = worker * REGION;
	uint32_t first, last;

	assert_int_equal(image_read_at(rig->image, layer, units,
				       PIECES * UNIT_SIZE, start),
			 0);
	first = last = round_of(units, start);
	for (unsigned i = 1; i < PIECES; i++) {
		uint32_t round =
			round_of(units + i * UNIT_SIZE, start + i * UNIT_SIZE);

		assert_true(round <= last);
		last = round;
	}
	assert_true(first - last <= 1);
}

static void no_breach(void *arg, const char *file, const char *what,
		      uint64_t offset, uint64_t length)
{
	(void)arg;
	(void)offset;
	(void)length;
	fail_msg("%s: %s", file, what);
}

/* What is sealed stays as it is. */
static void check_again(struct rig *rig, uint8_t *seen)
{
	uint8_t *units = malloc(PIECES * UNIT_SIZE);

	assert_non_null(units);
	for (unsigned i = 0; i < SEALS * 2; i++) {
		assert_int_equal(image_read_at(rig->image, i / 2 + 1, units,
					       PIECES * UNIT_SIZE,
					       i % 2 * REGION),
				 0);
		assert_memory_equal(units, seen + i * PIECES * UNIT_SIZE,
				    PIECES * UNIT_SIZE);
	}
	free(units);
}

static void test_seals_under_way(void **state)
{
	struct counter counters[2];
	uint8_t *seen = malloc(SEALS * 2 * PIECES * UNIT_SIZE);
	_Atomic bool stop = false;
	pthread_t threads[2];
	struct rig rig;

	(void)state;
	assert_non_null(seen);
	make_rig(&rig, io_new(&err));
	for (unsigned i = 0; i < 2; i++) {
		counters[i] = (struct counter){ .rig = &rig,
						.start = i * REGION,
						.stop = &stop };
		/* What is there before the first round. */
		memset(rig.base + counters[i].start, 0, PIECES * UNIT_SIZE);
	}
	ok(image_close(rig.image, &err));
	open_image(&rig);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up,
						&counters[i]),
				 0);
	for (uint64_t n = 0; n < SEALS; n++) {
		uint64_t layer;

		ok(image_seal(rig.image, &layer, &err));
		assert_int_equal(layer, n + 1);
		ok(image_seal_wait(rig.image, layer, &err));
		for (unsigned i = 0; i < 2; i++)
			check_cut(&rig, layer, i,
				  seen + (n * 2 + i) * PIECES * UNIT_SIZE);
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(counters[i].wrong, 0);
	}
	check_again(&rig, seen);
	ok(image_close(rig.image, &err));
	assert_int_equal(
		image_check(rig.io, rig.path, false, no_breach, NULL, &err), 0);
	open_image(&rig);
	check_again(&rig, seen);
	free_rig(&rig);
	free(seen);
}

/* The descriptor is readable until all that is done was reaped. */
static void look_at_descriptor(struct vs_io *io)
{
	struct image_request read = { .op = IMAGE_READ, .length = 4096 };
	struct image_request flush = { .op = IMAGE_FLUSH };
	struct image_request *done[2];
	struct image_queue *queue;
	uint8_t buffer[4096];
	struct pollfd poll_fd;
	struct rig rig;
	unsigned got = 0;

	make_rig(&rig, io);
	queue = image_queue_new(rig.image, 4, &err);
	assert_non_null(queue);
	poll_fd = (struct pollfd){ .fd = image_queue_fd(queue),
				   .events = POLLIN };
	assert_true(poll_fd.fd >= 0);
	assert_int_equal(image_reap(queue, 0, done, 2), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(image_write(queue, buffer, 4096, 8192), 0);
	assert_int_equal(image_reap(queue, 0, done, 2), 0);
	read.buffer = buffer;
	read.offset = 8192;
	image_submit(queue, &read);
	assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	while (!image_reap(queue, 0, done, 1))
		assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	image_submit(queue, &read);
	image_submit(queue, &flush);
	while (got < 2) {
		assert_int_equal(poll(&poll_fd, 1, 60000), 1);
		got += image_reap(queue, 0, done, 1);
	}
	assert_int_equal(read.result, 0);
	assert_int_equal(flush.result, 0);
	assert_int_equal(image_reap(queue, 0, done, 2), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	/* What another's wait has taken from the ring is there to be reaped. */
	image_submit(queue, &read);
	assert_int_equal(image_write(queue, buffer, 4096, 65536), 0);
	assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	while (!image_reap(queue, 0, done, 1))
		assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	assert_ptr_equal(done[0], &read);
	assert_int_equal(image_reap(queue, 0, done, 2), 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	image_queue_free(queue);
	free_rig(&rig);
}

static void test_descriptor(void **state)
{
	struct vs_io *io = io_new_uring(&err);

	(void)state;
	look_at_descriptor(io_new_plain(&err));
	look_at_descriptor(io_new_threads(&err));
	if (!io) {
		printf("no io_uring here: %s\n", err.text);
		skip();
	}
	look_at_descriptor(io);
}

/* ---- flushes at once ---- */

struct flusher {
	struct rig *rig;
	pthread_barrier_t *written;
	uint64_t at;
	int wrong;
};

static void *write_and_flush(void *arg)
{
	struct flusher *flusher = arg;
	struct image_queue *queue =
		image_queue_new(flusher->rig->image, 2, &err);
	uint8_t buffer[4096];

	pattern_fill(buffer, sizeof(buffer), flusher->at, 1);
	flusher->wrong = !queue || image_write(queue, buffer, sizeof(buffer),
					       flusher->at);
	pthread_barrier_wait(flusher->written);
	flusher->wrong |= !queue || image_flush(queue);
	image_queue_free(queue);
	return NULL;
}

/* All of them wait, and have written: what the first does is for all. */
static void test_flush_shared(void **state)
{
	struct flusher flushers[THREADS];
	pthread_t threads[THREADS];
	pthread_barrier_t written;
	struct fault_io fault;
	struct vs_io *real;
	struct rig rig;
	uint64_t before;

	(void)state;
	real = io_new_plain(&err);
	assert_non_null(real);
	fault_io_init(&fault, real);
	fault.path = "d.vsi.1";
	make_rig(&rig, &fault.io);
	pthread_barrier_init(&written, NULL, THREADS + 1);
	pthread_mutex_lock(&rig.image->commit_lock);
	for (unsigned i = 0; i < THREADS; i++) {
		flushers[i] = (struct flusher){ &rig, &written, i * REGION, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL,
						write_and_flush, &flushers[i]),
				 0);
	}
	pthread_barrier_wait(&written);
	before = fault.syncs;
	pthread_mutex_unlock(&rig.image->commit_lock);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(flushers[i].wrong, 0);
	}
	assert_int_equal(fault.syncs - before, 1);
	pthread_barrier_destroy(&written);
	free_rig(&rig);
	io_free(real);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uring),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_seals_under_way),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_flush_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
