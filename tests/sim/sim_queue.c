/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of the simulated disk.
 *
 * A request is carried out when it is reaped, in an order of the seed's, and
 * the bytes of a write are taken then: who touches a buffer too early, or
 * takes a sync for a barrier to writes that are in flight, is found out. The
 * buffer of a read is filled with rubbish at submit for the same reason.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

#define SIM_RUBBISH 0xa5

static struct sim_queue *queue_of(struct io_queue *queue)
{
	return container_of(queue, struct sim_queue, queue);
}

static struct sim *sim_of(struct io_queue *queue)
{
	return container_of(queue->io, struct sim, io);
}

struct io_queue *sim_queue_new(struct vs_io *io, unsigned depth,
			       struct err *err)
{
	struct sim *sim = container_of(io, struct sim, io);
	struct sim_queue *queue = sim_alloc(sizeof(*queue));

	(void)depth;
	(void)err;
	queue->queue.io = io;
	queue->next = sim->queues;
	sim->queues = queue;
	sim->count.queues++;
	return &queue->queue;
}

void sim_queue_submit(struct io_queue *base, struct io_request *request)
{
	struct sim_queue *queue = queue_of(base);

	assert(!request->in_flight);
	if (base->in_flight == queue->capacity) {
		queue->capacity = queue->capacity * 2 + 8;
		queue->requests =
			sim_grow(queue->requests,
				 queue->capacity * sizeof(struct io_request *));
	}
	if (request->op == IO_OP_READ)
		memset(request->buffer, SIM_RUBBISH, request->length);
	request->in_flight = true;
	request->next = NULL;
	queue->requests[base->in_flight++] = request;
}

static struct io_request *complete_one(struct sim_queue *queue)
{
	struct io_queue *base = &queue->queue;
	size_t i = (size_t)sim_pick(sim_of(base), base->in_flight);
	struct io_request *request = queue->requests[i];

	queue->requests[i] = queue->requests[--base->in_flight];
	switch (request->op) {
	case IO_OP_READ:
		request->result =
			sim_io_read(base->io, request->file, request->buffer,
				    request->length, request->offset);
		break;
	case IO_OP_WRITE:
		request->result =
			sim_io_write(base->io, request->file, request->buffer,
				     request->length, request->offset);
		break;
	case IO_OP_SYNC:
		request->result = sim_io_sync(base->io, request->file);
		break;
	}
	request->in_flight = false;
	return request;
}

unsigned sim_queue_reap(struct io_queue *base, unsigned min,
			struct io_request **done, unsigned max)
{
	struct sim_queue *queue = queue_of(base);
	unsigned most = max < base->in_flight ? max : base->in_flight;
	unsigned count, i;

	assert(min <= base->in_flight && min <= max);
	count = min + (unsigned)sim_pick(sim_of(base), most - min + 1ULL);
	for (i = 0; i < count; i++)
		done[i] = complete_one(queue);
	return count;
}

int sim_queue_fd(struct io_queue *base)
{
	(void)base;
	return -1;
}

void sim_queue_free(struct io_queue *base)
{
	struct sim_queue *queue;
	struct sim_queue **at;
	struct sim *sim;

	if (!base)
		return;
	queue = queue_of(base);
	sim = sim_of(base);
	while (base->in_flight)
		complete_one(queue);
	for (at = &sim->queues; *at != queue;)
		at = &(*at)->next;
	*at = queue->next;
	sim->count.queues--;
	free(queue->requests);
	free(queue);
}

void sim_queues_lose(struct sim *sim)
{
	struct sim_queue *queue;
	unsigned i;

	for (queue = sim->queues; queue; queue = queue->next) {
		for (i = 0; i < queue->queue.in_flight; i++)
			sim_io_write_last(sim, queue->requests[i]);
	}
}
