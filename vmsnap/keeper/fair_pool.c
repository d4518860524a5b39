/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of the queues that have something to do. A worker takes one job of the
 * first and puts that queue at the end; a queue that has as many workers as it
 * may is out of the ring until one of them is done. So a queue that is full, or
 * whose jobs are slow, costs the others a turn and no more.
 */
#include "vmsnap/keeper/fair_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "format/base/thread.h"

#define WORKERS_MAX 32u

struct fair_pool {
	pthread_mutex_t lock; /* guards all below and the queues; a leaf */
	pthread_cond_t there, gone;
	struct fair_queue *first, **last;
	unsigned workers, most, idle;
	unsigned listed; /* in the ring */
	unsigned queues; /* that are not closed */
	bool stopping;
	pthread_t threads[WORKERS_MAX];
};

void fair_pool_free(struct fair_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	while (pool->queues)
		pthread_cond_wait(&pool->gone, &pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->there);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->workers; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->gone);
	pthread_cond_destroy(&pool->there);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void fair_queue_init(struct fair_queue *queue, struct fair_pool *pool,
		     unsigned most, void (*closed)(struct fair_queue *queue))
{
	*queue = (struct fair_queue){ .pool = pool,
				      .most = most,
				      .closed = closed };
	queue->last = &queue->first;
	pthread_mutex_lock(&pool->lock);
	pool->queues++;
	pthread_mutex_unlock(&pool->lock);
}

/* ---- by the pool's lock ---- */

static bool has_work(const struct fair_queue *queue)
{
	if (queue->is_closing)
		return !queue->running && !queue->is_closed;
	return queue->first && queue->running < queue->most;
}

static void *worker_main(void *arg);

/* Signals are for the program's own threads. */
static int add_worker(struct fair_pool *pool)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&pool->threads[pool->workers], NULL, worker_main,
			   pool);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!r)
		pool->workers++;
	return -r;
}

static void list(struct fair_queue *queue)
{
	struct fair_pool *pool = queue->pool;

	if (queue->is_listed || !has_work(queue))
		return;
	queue->is_listed = true;
	queue->next = NULL;
	*pool->last = queue;
	pool->last = &queue->next;
	if (++pool->listed > pool->idle && pool->workers < pool->most)
		(void)add_worker(pool);
	pthread_cond_signal(&pool->there);
}

static struct fair_queue *unlist(struct fair_pool *pool)
{
	struct fair_queue *queue = pool->first;

	pool->first = queue->next;
	if (!pool->first)
		pool->last = &pool->first;
	queue->is_listed = false;
	pool->listed--;
	return queue;
}

static void run_one(struct fair_pool *pool, struct fair_queue *queue)
{
	struct fair_job *job = queue->first;

	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->running++;
	list(queue);
	pthread_mutex_unlock(&pool->lock);
	job->run(job);
	pthread_mutex_lock(&pool->lock);
	queue->running--;
	list(queue);
}

static void close_one(struct fair_pool *pool, struct fair_queue *queue)
{
	queue->is_closed = true;
	pthread_mutex_unlock(&pool->lock);
	queue->closed(queue);
	pthread_mutex_lock(&pool->lock);
	pool->queues--;
	pthread_cond_broadcast(&pool->gone);
}

static void *worker_main(void *arg)
{
	struct fair_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct fair_queue *queue;

		if (!pool->first) {
			if (pool->stopping)
				break;
			pool->idle++;
			pthread_cond_wait(&pool->there, &pool->lock);
			pool->idle--;
			continue;
		}
		queue = unlist(pool);
		if (!has_work(queue))
			continue;
		if (queue->is_closing)
			close_one(pool, queue);
		else
			run_one(pool, queue);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- from outside ---- */

int fair_pool_new(struct fair_pool **out, unsigned workers, struct err *err)
{
	struct fair_pool *pool = NULL;
	int r = alloc_array(&pool, 1, sizeof(*pool), err);

	if (r)
		return r;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->there, NULL);
	pthread_cond_init(&pool->gone, NULL);
	pool->last = &pool->first;
	pool->most = (unsigned)min_u64(workers, WORKERS_MAX);
	/* One there must be; without more it goes on. */
	pthread_mutex_lock(&pool->lock);
	r = add_worker(pool);
	pthread_mutex_unlock(&pool->lock);
	if (r) {
		fair_pool_free(pool);
		return thread_failed(err, r, "a thread of the keeper");
	}
	*out = pool;
	return 0;
}

void fair_queue_add(struct fair_queue *queue, struct fair_job *job)
{
	pthread_mutex_lock(&queue->pool->lock);
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
	list(queue);
	pthread_mutex_unlock(&queue->pool->lock);
}

void fair_queue_close(struct fair_queue *queue,
		      void (*drop)(struct fair_job *job))
{
	struct fair_pool *pool = queue->pool;
	struct fair_job *job;

	pthread_mutex_lock(&pool->lock);
	job = queue->first;
	queue->first = NULL;
	queue->last = &queue->first;
	queue->is_closing = true;
	list(queue);
	pthread_mutex_unlock(&pool->lock);
	while (job) {
		struct fair_job *next = job->next;

		drop(job);
		job = next;
	}
}
