/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seal: what was the top is sealed and a layer that stood ready is the top.
 * In memory that is a new stack and nothing else; nothing waits for a device.
 * What was written becomes durable, and is marked as sealed, afterwards.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

int image_prepare_locked(struct image *image, struct err *err)
{
	uint8_t parent[16];
	struct layer *layer;
	uint64_t number;
	size_t count;
	int r;

	image_lock(image);
	count = image->stack->count;
	number = stack_top(image->stack)->super.number + 1;
	memcpy(parent, stack_top(image->stack)->super.id, sizeof(parent));
	r = image->prepared ? 1 : 0;
	image_unlock(image);
	if (r)
		return 0;
	if (count >= IMAGE_LAYERS_MAX)
		return err_set(err, -EMLINK,
			       "image '%s' has %zu layers: absorb them first",
			       image->path, count);
	/* The top stays until there is one: nobody seals meanwhile. */
	r = layer_create(image, number, parent, &layer, err);
	if (r < 0)
		return r;
	image_lock(image);
	image->prepared = layer;
	image_unlock(image);
	return 0;
}

int image_prepare(struct image *image, struct err *err)
{
	int r = image_need_writable(image, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&image->commit_lock);
	r = image_prepare_locked(image, err);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}

/* By image->lock; a layer stands prepared. */
static int seal_now(struct image *image, uint64_t *number, struct err *err)
{
	struct stack *old = image->stack;
	struct stack *stack = stack_new(image, old->base, old->count + 1);

	if (!stack)
		return err_set(err, -ENOMEM, "out of memory for a seal");
	memcpy(stack->layers, old->layers, old->count * sizeof(old->layers[0]));
	stack->layers[old->count] = image->prepared;
	for (size_t i = 0; i < stack->count; i++)
		stack->layers[i]->refs++;
	*number = stack_top(old)->super.number;
	image->prepared = NULL;
	image->open_files++;
	image->stack = stack;
	image->want_prepare = image->want_finish = true;
	stack_put(image, old);
	helper_wake_background(image);
	return 0;
}

int image_seal(struct image *image, uint64_t *layer, struct err *err)
{
	int r = image_need_writable(image, err);

	if (r < 0)
		return r;
	image_lock(image);
	while (!image->prepared) {
		image_unlock(image);
		r = image_prepare(image, err);
		if (r < 0)
			return r;
		image_lock(image);
	}
	r = seal_now(image, layer, err);
	image_unlock(image);
	return r;
}

/* The head says that all these must be there from now on. */
static int know_layers(struct image *image, uint64_t number, struct err *err)
{
	struct head next = image->head;

	if (next.last_known >= number)
		return 0;
	next.last_known = number;
	return image_write_head(image, &next, err);
}

/* The exact end, so that a file that was cut off shows. */
static void cut_tail(struct layer *layer)
{
	struct vs_io *io = layer->image->io;
	uint64_t end = layer_cluster_at(&layer->super, layer->max_cluster + 1);

	if (io->ops->truncate(io, layer->file, end) == 0)
		layer->file_end = end;
}

static int finish_one(struct layer *layer, struct err *err)
{
	int r;

	if (layer->sealed || layer->broken)
		return 0;
	cut_tail(layer);
	r = layer_commit(layer, true, true, err);
	if (r < 0)
		return r;
	image_lock(layer->image);
	layer->sealed = true;
	free(layer->free_runs);
	layer->free_runs = NULL;
	layer->free_count = layer->free_capacity = 0;
	free(layer->fresh);
	layer->fresh = NULL;
	layer_close_idle(layer->image);
	image_unlock(layer->image);
	return 0;
}

/* What was under way when it was sealed is still written to it. */
static bool has_writers(struct layer *layer)
{
	bool some;

	image_lock(layer->image);
	some = layer->writers > 0;
	image_unlock(layer->image);
	return some;
}

int image_finish_seals(struct image *image, uint64_t number, struct err *err)
{
	struct stack *stack;
	int r = image_make_head_sure(image, err);

	image_lock(image);
	stack = stack_get(image->stack);
	image_unlock(image);
	for (size_t i = 0; !r && i + 1 < stack->count; i++) {
		if (stack->layers[i]->super.number > number ||
		    has_writers(stack->layers[i]))
			break;
		r = finish_one(stack->layers[i], err);
		if (!r)
			r = know_layers(
				image, stack->layers[i]->super.number + 1, err);
	}
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	return r;
}

/* By image->lock: of a layer up to this one. */
static bool any_writers(const struct image *image, uint64_t number)
{
	const struct stack *stack = image->stack;

	for (size_t i = 0; i + 1 < stack->count; i++) {
		if (stack->layers[i]->super.number <= number &&
		    stack->layers[i]->writers)
			return true;
	}
	return false;
}

int image_wait_writers(struct image *image, uint64_t number, struct err *err)
{
	bool busy;

	image_lock(image);
	/* Once there are none, there will be none. */
	while ((busy = any_writers(image, number)) && image->threads)
		pthread_cond_wait(&image->writers_gone, &image->lock);
	image_unlock(image);
	return busy ? err_set(err, -EBUSY,
			      "image '%s': requests from before the seal are still under way",
			      image->path)
		    : 0;
}

int image_seal_wait(struct image *image, uint64_t layer, struct err *err)
{
	int r = image_need_writable(image, err);
	uint64_t top;

	if (r < 0)
		return r;
	image_lock(image);
	top = stack_top(image->stack)->super.number;
	image_unlock(image);
	if (layer >= top)
		return err_set(err, -EINVAL, "layer %llu is not sealed",
			       (unsigned long long)layer);
	r = image_wait_writers(image, layer, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&image->commit_lock);
	r = image_finish_seals(image, layer, err);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}
