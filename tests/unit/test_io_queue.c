/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of the implementations of vs_io on the real kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/rig/no_ring.h"
#include "tests/unit/io_fixture.h"

#define QUEUE_DEPTH    16
#define QUEUE_REQUESTS 200
#define QUEUE_LENGTH   4096

/* Submit all, far above the depth, and reap them in odd helpings. */
static void run_all(struct io_queue *queue, struct io_request *requests)
{
	const struct vs_io_ops *ops = queue->io->ops;
	struct io_request *done[7];
	unsigned reaped = 0;

	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		ops->queue_submit(queue, &requests[i]);
		assert_true(requests[i].in_flight);
	}
	assert_int_equal(queue->in_flight, QUEUE_REQUESTS);
	while (reaped < QUEUE_REQUESTS) {
		unsigned left = QUEUE_REQUESTS - reaped;
		unsigned min = left < 3 ? left : 3;
		unsigned count = ops->queue_reap(queue, min, done, 7);

		assert_in_range(count, min, 7);
		for (unsigned i = 0; i < count; i++) {
			assert_false(done[i]->in_flight);
			/* Each comes back once. */
			assert_ptr_equal(done[i]->owner, done[i]);
			done[i]->owner = NULL;
		}
		reaped += count;
	}
	assert_int_equal(queue->in_flight, 0);
	assert_int_equal(ops->queue_reap(queue, 0, done, 7), 0);
}

static void test_queue(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	static uint8_t data[QUEUE_REQUESTS][QUEUE_LENGTH];
	static uint8_t back[QUEUE_REQUESTS][QUEUE_LENGTH];
	struct io_request requests[QUEUE_REQUESTS] = { 0 };
	struct io_queue *queue = io->ops->queue_new(io, QUEUE_DEPTH, NULL);
	int file = make_file(rig, "f", 0);

	assert_non_null(queue);
	assert_ptr_equal(queue->io, io);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		fill(data[i], QUEUE_LENGTH, i);
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = QUEUE_LENGTH,
			.offset = (uint64_t)i * QUEUE_LENGTH,
			.owner = &requests[i],
			.more = i % 5 != 0,
		};
	}
	run_all(queue, requests);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++) {
		assert_int_equal(requests[i].result, QUEUE_LENGTH);
		requests[i].op = IO_OP_READ;
		requests[i].buffer = back[i];
		requests[i].owner = &requests[i];
	}
	run_all(queue, requests);
	for (unsigned i = 0; i < QUEUE_REQUESTS; i++)
		assert_int_equal(requests[i].result, QUEUE_LENGTH);
	assert_memory_equal(data, back, sizeof(data));
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

/* What is held back goes with a kick, without a reap, and not before. */
static void test_queue_more(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_queue *queue = io->ops->queue_new(io, QUEUE_DEPTH, NULL);
	struct io_request requests[3] = { 0 }, *done[3];
	struct pollfd pollfd = { .events = POLLIN };
	int file = make_file(rig, "f", 0);
	uint8_t data[512] = { 1 };

	assert_non_null(queue);
	for (unsigned i = 0; i < 3; i++) {
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data,
			.length = sizeof(data),
			.offset = i * sizeof(data),
			.more = true,
		};
		io->ops->queue_submit(queue, &requests[i]);
	}
	pollfd.fd = io->ops->queue_fd(queue);
	if (io->ops->queue_kick) {
		assert_int_equal(poll(&pollfd, 1, 0), 0);
		io->ops->queue_kick(queue);
		assert_int_equal(poll(&pollfd, 1, 60000), 1);
	}
	assert_int_equal(io->ops->queue_reap(queue, 3, done, 3), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(requests[i].result, sizeof(data));
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

static ssize_t run_one(struct io_queue *queue, enum io_op op, int file,
		       void *buffer, size_t length, uint64_t offset)
{
	struct io_request request = {
		.op = op,
		.file = file,
		.buffer = buffer,
		.length = length,
		.offset = offset,
	};
	struct io_request *done = NULL;

	queue->io->ops->queue_submit(queue, &request);
	assert_int_equal(queue->io->ops->queue_reap(queue, 1, &done, 1), 1);
	assert_ptr_equal(done, &request);
	return request.result;
}

static void test_queue_results(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_queue *queue = io->ops->queue_new(io, 1, NULL);
	char data[100] = "abc";
	int file = make_file(rig, "f", 0);

	assert_non_null(queue);
	assert_int_equal(run_one(queue, IO_OP_WRITE, file, data, 3, 5), 3);
	assert_int_equal(run_one(queue, IO_OP_SYNC, file, NULL, 0, 0), 0);
	assert_int_equal(run_one(queue, IO_OP_READ, file, data, 100, 0), 8);
	assert_memory_equal(data, "\0\0\0\0\0abc", 8);
	assert_int_equal(run_one(queue, IO_OP_READ, file, data, 100, 8), 0);
	assert_int_equal(
		run_one(queue, IO_OP_READ, file, data, 100, UINT64_MAX),
		-EINVAL);
	assert_int_equal(run_one(queue, IO_OP_WRITE, file, data, 1, 1ULL << 63),
			 -EINVAL);
	assert_int_equal(run_one(queue, IO_OP_READ, -1, data, 100, 0), -EBADF);
	assert_int_equal(run_one(queue, IO_OP_SYNC, -1, NULL, 0, 0), -EBADF);
	assert_int_equal(run_one(queue, IO_OP_READ, file, NULL, 3, 0), -EFAULT);
	io->ops->queue_free(queue);
	io->ops->close(io, file);
}

static void test_queue_edges(void **state)
{
	struct rig *rig = rig_of(state);
	struct vs_io *io = rig->io;
	struct io_request requests[50] = { 0 };
	static char data[50][512];
	struct err err = { 0 };
	struct io_queue *queue;
	struct io_stat st;
	int file = make_file(rig, "f", 0);

	assert_null(io->ops->queue_new(io, 0, &err));
	assert_int_equal(err.code, -EINVAL);
	assert_null(io->ops->queue_new(io, IO_QUEUE_DEPTH_MAX + 1, &err));
	io->ops->queue_free(NULL);

	/* Freeing waits: all is written afterwards. */
	queue = io->ops->queue_new(io, 4, &err);
	assert_non_null(queue);
	for (unsigned i = 0; i < 50; i++) {
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = sizeof(data[i]),
			.offset = i * sizeof(data[i]),
		};
		io->ops->queue_submit(queue, &requests[i]);
	}
	io->ops->queue_free(queue);
	for (unsigned i = 0; i < 50; i++) {
		assert_false(requests[i].in_flight);
		assert_int_equal(requests[i].result, sizeof(data[i]));
	}
	assert_int_equal(io->ops->fstat(io, file, &st, NULL), 0);
	assert_int_equal(st.size_bytes, sizeof(data));
	io->ops->close(io, file);
}

static void *run_forbidden(void *arg)
{
	struct rig *rig = arg;
	const struct vs_io_ops *ops = rig->io->ops;
	struct io_queue *queue = ops->queue_new(rig->io, 8, NULL);
	static uint8_t data[40][512];
	struct io_request requests[40] = { 0 };
	struct io_request *done[40];
	int file = make_file(rig, "f", 0);
	unsigned reaped = 0;

	assert_non_null(queue);
	/* Half goes the usual way and is still out when the door shuts. */
	for (unsigned i = 0; i < 40; i++) {
		if (i == 20 && no_ring_forbid() < 0)
			skip();
		fill(data[i], sizeof(data[i]), i);
		requests[i] = (struct io_request){
			.op = IO_OP_WRITE,
			.file = file,
			.buffer = data[i],
			.length = sizeof(data[i]),
			.offset = i * sizeof(data[i]),
			.more = i % 4 != 3,
		};
		ops->queue_submit(queue, &requests[i]);
	}
	while (reaped < 40)
		reaped += ops->queue_reap(queue, 1, done, 40);
	for (unsigned i = 0; i < 40; i++) {
		uint8_t back[512];

		assert_int_equal(requests[i].result, 512);
		assert_int_equal(io_read_full(rig->io, file, back, 512,
					      requests[i].offset),
				 0);
		assert_memory_equal(back, data[i], 512);
	}
	ops->queue_free(queue);
	ops->close(rig->io, file);
	return rig;
}

/* A sandbox that comes down over a queue in use loses no request. */
static void test_queue_forbidden(void **state)
{
	struct rig *rig = rig_of(state);
	pthread_t thread;
	void *finished = NULL;

	assert_int_equal(pthread_create(&thread, NULL, run_forbidden, rig), 0);
	pthread_join(thread, &finished);
	assert_ptr_equal(finished, rig);
}

/* clang-format off */
#define QUEUE_TESTS(how)                                                       \
	IO_TEST(test_queue, how), IO_TEST(test_queue_more, how),               \
	IO_TEST(test_queue_results, how), IO_TEST(test_queue_edges, how)
/* clang-format on */

int main(void)
{
	const struct CMUnitTest tests[] = {
		QUEUE_TESTS(uring),
		QUEUE_TESTS(plain),
		QUEUE_TESTS(threads),
		IO_TEST(test_queue_forbidden, uring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
