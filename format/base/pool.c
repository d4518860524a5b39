/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that live for one call. They start behind a gate, so that either all
 * workers run or none does: a function that shares out its work by the number
 * of workers never waits for one that the system refused.
 */
#include "format/base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "format/base/base.h"
#include "format/base/thread.h"

enum pool_gate { GATE_SHUT, GATE_OPEN, GATE_CANCELLED };

struct pool {
	pool_fn *fn;
	void *arg;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t moved;
	enum pool_gate gate;
	int result; /* of the first that failed */
	struct err err;
};

struct pool_worker {
	struct pool *pool;
	unsigned number;
	pthread_t thread;
};

unsigned pool_default_workers(void)
{
	const char *text = getenv("VMSNAP_WORKERS");
	cpu_set_t cpus;
	long count;

	if (text && *text >= '0' && *text <= '9') {
		char *end;

		errno = 0;
		count = strtol(text, &end, 10);
		if (!errno && !*end && count > 0)
			return (unsigned)min_u64((uint64_t)count,
						 POOL_WORKERS_MAX);
	}
	/* Fails where the host has more CPUs than the set has bits. */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		count = CPU_COUNT(&cpus);
	else
		count = sysconf(_SC_NPROCESSORS_ONLN);
	if (count < 1)
		count = 1;
	return (unsigned)min_u64((uint64_t)count, POOL_WORKERS_MAX);
}

static void run_worker(struct pool *pool, unsigned number)
{
	struct err err = { 0 };
	int r = pool->fn(pool->arg, number, &err);

	if (r >= 0)
		return;
	pthread_mutex_lock(&pool->lock);
	if (!pool->result) {
		pool->result = r;
		pool->err = err;
	}
	pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg)
{
	struct pool_worker *worker = arg;
	struct pool *pool = worker->pool;
	enum pool_gate gate;

	pthread_mutex_lock(&pool->lock);
	while (pool->gate == GATE_SHUT)
		pthread_cond_wait(&pool->moved, &pool->lock);
	gate = pool->gate;
	pthread_mutex_unlock(&pool->lock);
	if (gate == GATE_OPEN)
		run_worker(pool, worker->number);
	return NULL;
}

static void move_gate(struct pool *pool, enum pool_gate gate)
{
	pthread_mutex_lock(&pool->lock);
	pool->gate = gate;
	pthread_cond_broadcast(&pool->moved);
	pthread_mutex_unlock(&pool->lock);
}

/* Workers 1 and up; *started counts them also when one couldn't be made. */
static int start_workers(struct pool *pool, struct pool_worker *list,
			 unsigned workers, unsigned *started, struct err *err)
{
	sigset_t all, old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (*started = 1; *started < workers; ++*started) {
		struct pool_worker *worker = &list[*started];

		worker->pool = pool;
		worker->number = *started;
		r = pthread_create(&worker->thread, NULL, worker_main, worker);
		if (r)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? thread_failed(err, -r, "a worker thread") : 0;
}

int pool_run(unsigned workers, pool_fn *fn, void *arg, struct err *err)
{
	struct pool_worker list[POOL_WORKERS_MAX];
	struct pool pool = { .fn = fn, .arg = arg };
	unsigned started;
	int r;

	if (workers < 1 || workers > POOL_WORKERS_MAX)
		return err_set(err, -EINVAL, "%u workers: must be 1 to %u",
			       workers, POOL_WORKERS_MAX);
	pthread_mutex_init(&pool.lock, NULL);
	pthread_cond_init(&pool.moved, NULL);

	r = start_workers(&pool, list, workers, &started, err);
	move_gate(&pool, r < 0 ? GATE_CANCELLED : GATE_OPEN);
	if (r == 0)
		run_worker(&pool, 0);
	for (unsigned i = 1; i < started; i++)
		pthread_join(list[i].thread, NULL);

	pthread_cond_destroy(&pool.moved);
	pthread_mutex_destroy(&pool.lock);
	if (r == 0 && pool.result) {
		r = pool.result;
		if (err)
			*err = pool.err;
	}
	return r;
}
