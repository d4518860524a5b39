/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues on io_uring: one ring a queue, so that no lock is shared between
 * threads, and no kernel polling thread, which would burn a core of a host
 * that is there to run machines. A request goes to the kernel when it is
 * submitted, or together with those that were announced behind it
 * (io_request.more): one call for all of them. Those above the queue's depth
 * wait here. Everything but the queues is io_posix.h.
 *
 * A ring that the kernel closes to us later (a sandbox came down) is not
 * fatal: what it has not taken is then done by ordinary calls.
 */
#include "format/base/io.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>

#include "format/base/base.h"
#include "format/base/io_list.h"
#include "format/base/io_posix.h"

#define PROBE_ENTRIES    2
#define TRANSFER_MAX     (1U << 30) /* the kernel's length has 32 bits */
#define SUBMIT_TRIES_MAX 64
#define POLL_MS          10
#define HELD_MAX         32 /* so that the kernel starts while we go on */

struct uring_queue {
	struct io_queue queue;
	struct io_uring ring;
	unsigned depth;
	unsigned in_kernel;     /* taken by the kernel, no result yet */
	bool closed;            /* the kernel takes no more */
	struct io_list waiting; /* above the depth, behind `staged` */
	struct io_list staged;  /* in the ring, not yet taken */
	unsigned staged_count;
	struct io_list done; /* result is there, not reaped */
};

/*
 * liburing maps and unmaps behind ThreadSanitizer's back, which then takes a
 * ring at the address of an earlier one for the same memory: a lock tells it
 * that the one was done with before the other was.
 */
static void ring_order(void)
{
#ifdef SANITIZED
	static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&order);
	pthread_mutex_unlock(&order);
#endif
}

static void ring_exit(struct io_uring *ring)
{
	ring_order();
	io_uring_queue_exit(ring);
}

static int ring_init(struct io_uring *ring, unsigned entries, unsigned flags)
{
	/* Completions wait for our next call instead of interrupting us. */
	int r = io_uring_queue_init(entries, ring,
				    flags | IORING_SETUP_COOP_TASKRUN);

	if (r == -EINVAL)
		r = io_uring_queue_init(entries, ring, flags);
	ring_order();
	return r;
}

/*
 * From here on it reads, writes and syncs, and no more: who gets hold of the
 * process can't use the ring for what the process itself is denied. Where the
 * kernel knows no such thing (before 5.10) the ring goes on as it is.
 */
static int ring_init_narrow(struct io_uring *ring, unsigned entries)
{
	struct io_uring_restriction allowed[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP,
		  .sqe_op = IORING_OP_FSYNC },
	};
	int r = ring_init(ring, entries, IORING_SETUP_R_DISABLED);

	if (r == -EINVAL)
		return ring_init(ring, entries, 0);
	if (r < 0)
		return r;
	/* liburing's own functions for it are not in its library. */
	r = io_uring_register((unsigned)ring->ring_fd,
			      IORING_REGISTER_RESTRICTIONS, allowed,
			      ARRAY_SIZE(allowed));
	if (r == 0)
		r = io_uring_register((unsigned)ring->ring_fd,
				      IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (r < 0)
		ring_exit(ring);
	return r < 0 ? r : 0;
}

static struct io_queue *uring_queue_new(struct vs_io *io, unsigned depth,
					struct err *err)
{
	autofree struct uring_queue *uring = NULL;
	int r;

	if (io_posix_check_depth(depth, err) < 0)
		return NULL;
	if (alloc_array(&uring, 1, sizeof(*uring), err) < 0)
		return NULL;
	r = ring_init_narrow(&uring->ring, depth);
	if (r < 0) {
		err_sys(err, r, "can't make an io_uring of depth %u", depth);
		return NULL;
	}
	uring->queue.io = io;
	uring->depth = depth;
	return &((struct uring_queue *)ptr_steal(&uring))->queue;
}

/* It waits for a reap. */
static void keep_done(struct uring_queue *uring, struct io_request *request,
		      ssize_t result)
{
	request->result = result;
	io_list_push(&uring->done, request);
	uring->queue.at_hand++;
}

static void run_here(struct uring_queue *uring, struct io_request *request)
{
	keep_done(uring, request, io_posix_run(uring->queue.io, request));
}

/* The first `count` of those in the ring are the kernel's now. */
static void staged_taken(struct uring_queue *uring, unsigned count)
{
	while (count-- && io_list_pop(&uring->staged)) {
		uring->staged_count--;
		uring->in_kernel++;
	}
}

/* What stands in the ring goes to the kernel, or is done here. */
static void submit_staged(struct uring_queue *uring)
{
	struct io_request *request;
	int taken;

	for (int tries = 0; uring->staged.first && !uring->closed &&
			    tries < SUBMIT_TRIES_MAX;) {
		taken = io_uring_submit(&uring->ring);
		if (taken > 0) {
			staged_taken(uring, (unsigned)taken);
			continue;
		}
		tries++;
		if (taken != 0 && taken != -EINTR && taken != -EAGAIN &&
		    taken != -EBUSY)
			break;
		/* Short of memory: again when something has come back. */
		if (taken != -EINTR && uring->in_kernel)
			return;
	}
	if (!uring->staged.first)
		return;
	/* Their entries stay in the ring: nothing may be submitted again. */
	uring->closed = true;
	while ((request = io_list_pop(&uring->staged)))
		run_here(uring, request);
	uring->staged_count = 0;
}

static bool stage(struct uring_queue *uring, struct io_request *request)
{
	unsigned length = (unsigned)min_u64(request->length, TRANSFER_MAX);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (!sqe)
		return false;
	switch (request->op) {
	case IO_OP_READ:
		io_uring_prep_read(sqe, request->file, request->buffer, length,
				   request->offset);
		break;
	case IO_OP_WRITE:
		io_uring_prep_write(sqe, request->file, request->buffer, length,
				    request->offset);
		break;
	case IO_OP_SYNC:
		io_uring_prep_fsync(sqe, request->file, 0);
		break;
	}
	io_uring_sqe_set_data(sqe, request);
	io_list_push(&uring->staged, request);
	uring->staged_count++;
	return true;
}

/* From those that wait into the ring, as many as the depth allows. */
static void feed(struct uring_queue *uring)
{
	struct io_request *request;

	while (uring->waiting.first && !uring->closed &&
	       uring->in_kernel + uring->staged_count < uring->depth) {
		request = io_list_pop(&uring->waiting);
		if (!stage(uring, request))
			run_here(uring, request);
	}
}

static void uring_queue_kick(struct io_queue *queue)
{
	struct uring_queue *uring =
		container_of(queue, struct uring_queue, queue);
	struct io_request *request;

	feed(uring);
	submit_staged(uring);
	while (uring->closed && (request = io_list_pop(&uring->waiting)))
		run_here(uring, request);
}

static void uring_queue_submit(struct io_queue *queue,
			       struct io_request *request)
{
	struct uring_queue *uring =
		container_of(queue, struct uring_queue, queue);

	assert(!request->in_flight);
	request->in_flight = true;
	queue->in_flight++;
	/* To the ring, -1 would mean "at the file's position". */
	if (request->op != IO_OP_SYNC && request->offset > INT64_MAX) {
		keep_done(uring, request, -EINVAL);
		return;
	}
	io_list_push(&uring->waiting, request);
	feed(uring);
	if (!request->more || uring->staged_count >= HELD_MAX)
		uring_queue_kick(queue);
}

/* The results that lie in the ring. */
static void collect(struct uring_queue *uring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct io_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&uring->ring, cqe);
		uring->in_kernel--;
		/*
		 * Again, by a call that can't ask for it once more. Never a
		 * sync: it may have eaten a write error on the way.
		 */
		if ((result == -EAGAIN || result == -EINTR) &&
		    request->op != IO_OP_SYNC) {
			run_here(uring, request);
			continue;
		}
		keep_done(uring, request, result);
	}
}

/* Until `count` results lie in the ring, or a few milliseconds. */
static void wait_for(struct uring_queue *uring, unsigned count)
{
	struct io_uring_cqe *cqe;
	int r = io_uring_wait_cqe_nr(&uring->ring, &cqe, count);

	if (r == 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY)
		return;
	/* No entry any more; results still arrive in the shared memory. */
	uring->closed = true;
	(void)poll(
		&(struct pollfd){ .fd = uring->ring.ring_fd, .events = POLLIN },
		1, POLL_MS);
}

static unsigned uring_queue_reap(struct io_queue *queue, unsigned min,
				 struct io_request **done, unsigned max)
{
	struct uring_queue *uring =
		container_of(queue, struct uring_queue, queue);
	unsigned count = 0;

	assert(min <= queue->in_flight && min <= max);
	for (;;) {
		struct io_request *request;

		collect(uring);
		uring_queue_kick(queue);
		while (count < max && (request = io_list_pop(&uring->done))) {
			request->in_flight = false;
			queue->in_flight--;
			queue->at_hand--;
			done[count++] = request;
		}
		if (count >= min)
			return count;
		/* One at a time while others wait for its place. */
		if (uring->waiting.first || uring->staged.first)
			wait_for(uring, 1);
		else if (uring->in_kernel)
			wait_for(uring, (unsigned)min_u64(min - count,
							  uring->in_kernel));
	}
}

static int uring_queue_fd(struct io_queue *queue)
{
	return container_of(queue, struct uring_queue, queue)->ring.ring_fd;
}

static void uring_queue_free(struct io_queue *queue)
{
	struct uring_queue *uring;
	struct io_request *done;

	if (!queue)
		return;
	while (queue->in_flight)
		uring_queue_reap(queue, 1, &done, 1);
	uring = container_of(queue, struct uring_queue, queue);
	ring_exit(&uring->ring);
	free(uring);
}

static const struct vs_io_ops uring_ops = {
	.name = "io_uring",
	IO_POSIX_OPS,
	.queue_new = uring_queue_new,
	.queue_submit = uring_queue_submit,
	.queue_kick = uring_queue_kick,
	.queue_reap = uring_queue_reap,
	.queue_fd = uring_queue_fd,
	.queue_free = uring_queue_free,
	.free = io_posix_free,
};

static int probe_ring(struct err *err)
{
	struct io_uring_probe *probe;
	struct io_uring ring;
	bool usable;
	int r = ring_init(&ring, PROBE_ENTRIES, 0);

	if (r < 0)
		return err_sys(
			err, r,
			"io_uring is not available on this host (use VMSNAP_IO=plain)");
	probe = io_uring_get_probe_ring(&ring);
	usable = probe && io_uring_opcode_supported(probe, IORING_OP_READ) &&
		 io_uring_opcode_supported(probe, IORING_OP_WRITE) &&
		 io_uring_opcode_supported(probe, IORING_OP_FSYNC);
	io_uring_free_probe(probe);
	ring_exit(&ring);
	if (!usable)
		return err_set(
			err, -EOPNOTSUPP,
			"this kernel's io_uring is too old (use VMSNAP_IO=plain)");
	return 0;
}

struct vs_io *io_new_uring(struct err *err)
{
	if (probe_ring(err) < 0)
		return NULL;
	return io_posix_new(&uring_ops, err);
}
