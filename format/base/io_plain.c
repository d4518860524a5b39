/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O for hosts that forbid io_uring. A queue does each request when it is
 * submitted, in the caller's thread: the engine's workers each have a queue of
 * their own, so that they are the parallelism, and no thread pool hides here.
 */
#include "format/base/io.h"

#include <assert.h>
#include <errno.h>

#include "format/base/base.h"
#include "format/base/io_posix.h"

struct plain_queue {
	struct io_queue queue;
	struct io_request *first; /* done, in order, not yet reaped */
	struct io_request **last;
};

static struct io_queue *plain_queue_new(struct vs_io *io, unsigned depth,
					struct err *err)
{
	struct plain_queue *plain = NULL;

	if (io_posix_check_depth(depth, err) < 0)
		return NULL;
	if (alloc_array(&plain, 1, sizeof(*plain), err) < 0)
		return NULL;
	plain->queue.io = io;
	plain->last = &plain->first;
	return &plain->queue;
}

static void plain_queue_submit(struct io_queue *queue,
			       struct io_request *request)
{
	struct plain_queue *plain =
		container_of(queue, struct plain_queue, queue);

	assert(!request->in_flight);
	request->in_flight = true;
	request->next = NULL;
	request->result = io_posix_run(queue->io, request);
	*plain->last = request;
	plain->last = &request->next;
	queue->in_flight++;
}

static unsigned plain_queue_reap(struct io_queue *queue, unsigned min,
				 struct io_request **done, unsigned max)
{
	struct plain_queue *plain =
		container_of(queue, struct plain_queue, queue);
	unsigned count = 0;

	assert(min <= queue->in_flight && min <= max);
	(void)min;
	while (count < max && plain->first) {
		struct io_request *request = plain->first;

		plain->first = request->next;
		if (!plain->first)
			plain->last = &plain->first;
		request->next = NULL;
		request->in_flight = false;
		done[count++] = request;
	}
	queue->in_flight -= count;
	return count;
}

static int plain_queue_fd(struct io_queue *queue)
{
	(void)queue;
	return -1;
}

static void plain_queue_free(struct io_queue *queue)
{
	struct io_request *done;

	if (!queue)
		return;
	while (plain_queue_reap(queue, 0, &done, 1))
		;
	free(container_of(queue, struct plain_queue, queue));
}

static const struct vs_io_ops plain_ops = {
	.name = "plain",
	IO_POSIX_OPS,
	.queue_new = plain_queue_new,
	.queue_submit = plain_queue_submit,
	.queue_reap = plain_queue_reap,
	.queue_fd = plain_queue_fd,
	.queue_free = plain_queue_free,
	.free = io_posix_free,
};

struct vs_io *io_new_plain(struct err *err)
{
	return io_posix_new(&plain_ops, err);
}
