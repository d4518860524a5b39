/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues through which a door's threads use an image. A queue is one
 * thread's, and dear to make; a door has a thread for each request under way,
 * and may make and end them as it likes. So a thread borrows a queue for a
 * request. There are as many as were ever in use at once, up to a bound; beyond
 * that a request waits for its turn.
 */
#include <errno.h>

#include "vmsnap/live.h"

#define QUEUES_MAX  64u
#define QUEUE_DEPTH 32u

struct vms_live_queues {
	struct image *image;
	unsigned max;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* a queue came back */
	struct image_queue *idle[QUEUES_MAX];
	unsigned idle_count, count; /* with those in use */
};

int vms_live_queues_new(struct vms_live_queues **out, struct vms_live *live,
			unsigned max, struct err *err)
{
	struct vms_live_queues *queues = NULL;
	int r = alloc_array(&queues, 1, sizeof(*queues), err);

	if (r)
		return r;
	queues->image = live->image;
	queues->max = max && max < QUEUES_MAX ? max : QUEUES_MAX;
	pthread_mutex_init(&queues->lock, NULL);
	pthread_cond_init(&queues->wake, NULL);
	*out = queues;
	return 0;
}

void vms_live_queues_free(struct vms_live_queues *queues)
{
	if (!queues)
		return;
	while (queues->idle_count)
		image_queue_free(queues->idle[--queues->idle_count]);
	pthread_cond_destroy(&queues->wake);
	pthread_mutex_destroy(&queues->lock);
	free(queues);
}

static struct image_queue *borrow(struct vms_live_queues *queues,
				  struct err *err)
{
	struct image_queue *queue = NULL;

	pthread_mutex_lock(&queues->lock);
	for (;;) {
		if (queues->idle_count) {
			queue = queues->idle[--queues->idle_count];
			break;
		}
		if (queues->count < queues->max)
			queue = image_queue_new(queues->image, QUEUE_DEPTH,
						err);
		if (queue)
			queues->count++;
		/* Where no more can be had, one of those there must do. */
		if (queue || !queues->count)
			break;
		pthread_cond_wait(&queues->wake, &queues->lock);
	}
	pthread_mutex_unlock(&queues->lock);
	return queue;
}

static void give_back(struct vms_live_queues *queues, struct image_queue *queue)
{
	pthread_mutex_lock(&queues->lock);
	queues->idle[queues->idle_count++] = queue;
	pthread_cond_signal(&queues->wake);
	pthread_mutex_unlock(&queues->lock);
}

int vms_live_request(struct vms_live_queues *queues,
		     struct image_request *request)
{
	struct err err = { 0 };
	struct image_queue *queue = borrow(queues, &err);

	if (!queue)
		return err.code < 0 ? err.code : -ENOMEM;
	image_request_run(queue, request);
	give_back(queues, queue);
	return request->result;
}
