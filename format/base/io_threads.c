/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O for a program whose threads must not wait for a device, on hosts that
 * forbid io_uring: a few threads do the blocking calls of all queues, in the
 * order of their submission. They are there from the start: who submits may
 * have lost the right to make any.
 */
#include "format/base/io.h"

#include <assert.h>
#include <errno.h>

#include "format/base/base.h"
#include "format/base/event.h"
#include "format/base/io_list.h"
#include "format/base/io_posix.h"
#include "format/base/thread.h"

#define THREADS 16u

struct io_pool {
	struct vs_io *io;
	pthread_mutex_t lock;
	pthread_cond_t there_is_work;
	bool stopping;
	struct io_list work;
	pthread_t threads[THREADS];
	unsigned thread_count;
};

struct threads_queue {
	struct io_queue queue;
	/* With the pool's lock. */
	pthread_cond_t some_are_done;
	struct io_list done;
	unsigned done_count;
	struct event event;
};

static struct io_pool *pool_of(struct vs_io *io)
{
	return container_of(io, struct io_posix, io)->pool;
}

static struct threads_queue *of(struct io_queue *queue)
{
	return container_of(queue, struct threads_queue, queue);
}

/* ---- the threads ---- */

static void finished(struct io_request *request)
{
	struct threads_queue *queue = of(request->queue);

	io_list_push(&queue->done, request);
	queue->done_count++;
	event_set(&queue->event);
	pthread_cond_signal(&queue->some_are_done);
}

static void *pool_main(void *arg)
{
	struct io_pool *pool = arg;
	struct io_request *request;

	thread_begin(THREAD_FILES);
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		request = io_list_pop(&pool->work);
		if (request) {
			pthread_mutex_unlock(&pool->lock);
			request->result = io_posix_run(pool->io, request);
			pthread_mutex_lock(&pool->lock);
			finished(request);
		} else if (pool->stopping) {
			break;
		} else {
			pthread_cond_wait(&pool->there_is_work, &pool->lock);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void pool_free(struct io_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->there_is_work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->there_is_work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* Fewer do as well. */
static int pool_new(struct vs_io *io, struct io_pool **out, struct err *err)
{
	struct io_pool *pool;
	int r = alloc_array(&pool, 1, sizeof(*pool), err);

	if (r < 0)
		return r;
	pool->io = io;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->there_is_work, NULL);
	while (!r && pool->thread_count < THREADS) {
		r = thread_make(&pool->threads[pool->thread_count], pool_main,
				pool);
		if (!r)
			pool->thread_count++;
	}
	if (!pool->thread_count) {
		pool_free(pool);
		return thread_failed(err, r, "threads for input and output");
	}
	*out = pool;
	return 0;
}

/* ---- queues ---- */

static struct io_queue *threads_queue_new(struct vs_io *io, unsigned depth,
					  struct err *err)
{
	struct threads_queue *queue = NULL;

	if (io_posix_check_depth(depth, err) < 0 ||
	    alloc_array(&queue, 1, sizeof(*queue), err) < 0)
		return NULL;
	queue->queue.io = io;
	queue->event.fd = -1;
	pthread_cond_init(&queue->some_are_done, NULL);
	return &queue->queue;
}

static void threads_queue_submit(struct io_queue *queue,
				 struct io_request *request)
{
	struct io_pool *pool = pool_of(queue->io);

	assert(!request->in_flight);
	request->in_flight = true;
	request->queue = queue;
	queue->in_flight++;
	pthread_mutex_lock(&pool->lock);
	io_list_push(&pool->work, request);
	pthread_cond_signal(&pool->there_is_work);
	pthread_mutex_unlock(&pool->lock);
}

static unsigned threads_queue_reap(struct io_queue *queue, unsigned min,
				   struct io_request **done, unsigned max)
{
	struct threads_queue *threads = of(queue);
	struct io_pool *pool = pool_of(queue->io);
	unsigned count = 0;

	assert(min <= queue->in_flight && min <= max);
	pthread_mutex_lock(&pool->lock);
	while (threads->done_count < min)
		pthread_cond_wait(&threads->some_are_done, &pool->lock);
	event_clear(&threads->event);
	while (count < max && threads->done.first) {
		done[count] = io_list_pop(&threads->done);
		done[count++]->in_flight = false;
	}
	threads->done_count -= count;
	if (threads->done_count)
		event_set(&threads->event);
	pthread_mutex_unlock(&pool->lock);
	queue->in_flight -= count;
	return count;
}

static int threads_queue_fd(struct io_queue *queue)
{
	struct threads_queue *threads = of(queue);
	struct io_pool *pool = pool_of(queue->io);

	pthread_mutex_lock(&pool->lock);
	if (threads->event.fd < 0 && !event_open(&threads->event) &&
	    threads->done_count)
		event_set(&threads->event);
	pthread_mutex_unlock(&pool->lock);
	return threads->event.fd;
}

static void threads_queue_free(struct io_queue *queue)
{
	struct threads_queue *threads;
	struct io_request *done;

	if (!queue)
		return;
	while (queue->in_flight)
		threads_queue_reap(queue, 1, &done, 1);
	threads = of(queue);
	if (threads->event.fd >= 0)
		close(threads->event.fd);
	pthread_cond_destroy(&threads->some_are_done);
	free(threads);
}

static void threads_free(struct vs_io *io)
{
	pool_free(pool_of(io));
	io_posix_free(io);
}

static const struct vs_io_ops threads_ops = {
	.name = "threads",
	IO_POSIX_OPS,
	.queue_new = threads_queue_new,
	.queue_submit = threads_queue_submit,
	.queue_reap = threads_queue_reap,
	.queue_fd = threads_queue_fd,
	.queue_free = threads_queue_free,
	.free = threads_free,
};

struct vs_io *io_new_threads(struct err *err)
{
	struct vs_io *io = io_posix_new(&threads_ops, err);

	if (io && pool_new(io, &container_of(io, struct io_posix, io)->pool,
			   err) < 0) {
		io_posix_free(io);
		return NULL;
	}
	return io;
}
