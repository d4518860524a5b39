/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers for many queues: each queue in its turn, and never more than some of
 * them at one. Private.
 */
#ifndef VMSNAP_KEEPER_FAIR_POOL_H
#define VMSNAP_KEEPER_FAIR_POOL_H

#include "format/base/base.h"

struct fair_pool;

/* The caller's until it runs, and again from then on. */
struct fair_job {
	void (*run)(struct fair_job *job);
	struct fair_job *next; /* the pool's */
};

/* The caller's; all zero but `pool`, `most` and `closed` to begin with. */
struct fair_queue {
	struct fair_pool *pool;
	unsigned most; /* workers at once */
	/* On a worker: nothing of it waits or runs any more, nor ever will. */
	void (*closed)(struct fair_queue *queue);
	/* The rest is the pool's. */
	struct fair_job *first, **last;
	unsigned running;
	bool is_listed, is_closing, is_closed;
	struct fair_queue *next;
};

/* Threads are made when they are first needed, at most `workers`. */
int fair_pool_new(struct fair_pool **out, unsigned workers, struct err *err);
/* All queues were closed: waits for that. NULL is ignored. */
void fair_pool_free(struct fair_pool *pool);

void fair_queue_init(struct fair_queue *queue, struct fair_pool *pool,
		     unsigned most, void (*closed)(struct fair_queue *queue));
/* Never waits. */
void fair_queue_add(struct fair_queue *queue, struct fair_job *job);
/* Nothing is added from here on. What has not begun is dropped: `drop` gets
 * each, and does not touch the queue, which may be closed by then. Never
 * waits. */
void fair_queue_close(struct fair_queue *queue,
		      void (*drop)(struct fair_job *job));

#endif
