/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image beneath a throw-away layer. A queue of an image is one thread's, and
 * readers are few: each takes a queue for one read, or waits for one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "format/base/base.h"
#include "kvm-agent/temporary/temporary.h"

#define QUEUES      4u
#define QUEUE_DEPTH 8u

struct base_image {
	struct image_base base;
	struct image *image;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct image_queue *idle[QUEUES];
	unsigned idle_count;
};

static struct base_image *of(struct image_base *base)
{
	return container_of(base, struct base_image, base);
}

static int read_image(struct image_base *base, void *buffer, size_t length,
		      uint64_t offset)
{
	struct base_image *under = of(base);
	struct image_queue *queue;
	int r;

	pthread_mutex_lock(&under->lock);
	while (!under->idle_count)
		pthread_cond_wait(&under->freed, &under->lock);
	queue = under->idle[--under->idle_count];
	pthread_mutex_unlock(&under->lock);
	r = image_read(queue, buffer, length, offset);
	pthread_mutex_lock(&under->lock);
	under->idle[under->idle_count++] = queue;
	pthread_cond_signal(&under->freed);
	pthread_mutex_unlock(&under->lock);
	return r;
}

static int extent_image(struct image_base *base, uint64_t offset,
			uint64_t length, bool *zero, uint64_t *run)
{
	struct image_extent extent;
	int r = image_extent_deep(of(base)->image, offset, length, &extent,
				  NULL);

	if (r < 0)
		return r;
	*zero = extent.kind == IMAGE_EXTENT_ZERO;
	*run = extent.length;
	return 0;
}

static void close_image(struct image_base *base)
{
	struct base_image *under = of(base);

	while (under->idle_count)
		image_queue_free(under->idle[--under->idle_count]);
	(void)image_close(under->image, NULL);
	pthread_cond_destroy(&under->freed);
	pthread_mutex_destroy(&under->lock);
	free(under);
}

int base_image_open(struct image_base **out, struct image *image,
		    struct err *err)
{
	struct base_image *under = NULL;
	int r = alloc_array(&under, 1, sizeof(*under), err);

	if (r < 0) {
		(void)image_close(image, NULL);
		return r;
	}
	under->base = (struct image_base){ .size_bytes = image_size(image),
					   .read = read_image,
					   .extent = extent_image,
					   .close = close_image };
	under->image = image;
	pthread_mutex_init(&under->lock, NULL);
	pthread_cond_init(&under->freed, NULL);
	while (r == 0 && under->idle_count < QUEUES) {
		struct image_queue *queue =
			image_queue_new(image, QUEUE_DEPTH, err);

		if (queue)
			under->idle[under->idle_count++] = queue;
		else
			r = err_prefix(err, "a queue to read the image");
	}
	if (r < 0) {
		close_image(&under->base);
		return r;
	}
	*out = &under->base;
	return 0;
}
