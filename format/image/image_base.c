/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The swap of the base: the head names the new one and the first layer that
 * is left (layer 0: all are left), durably; then the stack in memory changes; then the files beneath
 * go. A crash in between leaves files that the next open removes.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

static int write_head(struct image *image, uint64_t first,
		      const struct image_base_info *info, struct err *err)
{
	struct head next = image->head;

	next.first_layer = first;
	next.last_known = max_u64(next.last_known, first);
	next.base = *info;
	next.base.present = true;
	return image_write_head(image, &next, err);
}

static void publish(struct image *image, struct stack *stack, size_t gone)
{
	struct stack *old = image->stack;

	/* A seal may have put one on top meanwhile. */
	for (size_t i = 0; i < stack->count; i++) {
		stack->layers[i] = old->layers[gone + i];
		stack->layers[i]->refs++;
	}
	image->stack = stack;
	stack_put(image, old);
}

static int swap_stack(struct image *image, size_t gone, struct base_ref *ref)
{
	struct stack *stack;

	image_lock(image);
	stack = stack_new(image, ref, image->stack->count - gone);
	if (stack)
		publish(image, stack, gone);
	image_unlock(image);
	return stack ? 0 : -ENOMEM;
}

struct removal {
	struct vs_io *io;
	uint64_t first; /* that stays */
};

static int remove_old(void *arg, uint64_t number, const char *path,
		      struct err *err)
{
	const struct removal *removal = arg;

	return number < removal->first
		       ? removal->io->ops->unlink(removal->io, path, err)
		       : 0;
}

/* The next open does what fails here. */
static void remove_below(struct image *image, uint64_t first)
{
	struct removal removal = { image->io, first };

	(void)image_each_layer_file(image->io, image->path, remove_old,
				    &removal, NULL);
}

static int swap_locked(struct image *image, uint64_t layer,
		       const struct image_base_info *info, struct base_ref *ref,
		       struct err *err)
{
	uint64_t first;
	size_t gone;
	int r = image_finish_seals(image, layer, err);

	if (r < 0)
		return r;
	image_lock(image);
	gone = stack_count_to(image->stack, layer);
	first = image->stack->layers[0]->super.number;
	if (gone == image->stack->count || (layer && !gone))
		r = -EINVAL;
	image_unlock(image);
	if (r < 0)
		return err_set(err, r, "image '%s': layer %llu is not sealed",
			       image->path, (unsigned long long)layer);
	if (image_sabotage & SABOTAGE_LAYERS_FIRST)
		remove_below(image, first + gone);
	r = write_head(image, first + gone, info, err);
	if (r < 0)
		return r;
	r = swap_stack(image, gone, ref);
	if (r < 0)
		return err_set(
			err, r,
			"out of memory for the new base; it counts when the image is opened again");
	remove_below(image, first + gone);
	return 0;
}

int image_swap_base(struct image *image, uint64_t layer,
		    const struct image_base_info *info, struct image_base *base,
		    struct err *err)
{
	struct base_ref *ref = calloc(1, sizeof(*ref));
	int r = image_need_writable(image, err);

	if (!r && !ref)
		r = err_set(err, -ENOMEM, "out of memory for a base");
	if (!r)
		r = image_wait_writers(image, layer, err);
	if (!r) {
		ref->base = base;
		pthread_mutex_lock(&image->commit_lock);
		r = swap_locked(image, layer, info, ref, err);
		pthread_mutex_unlock(&image->commit_lock);
	}
	if (r < 0) {
		free(ref);
		base->close(base);
	}
	return r;
}

int image_settle_head(struct image *image, struct err *err)
{
	struct head next;
	int r = image_need_writable(image, err);

	if (r)
		return r;
	pthread_mutex_lock(&image->commit_lock);
	next = image->head;
	r = image_write_head(image, &next, err);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}
