/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another size, and space given back.
 *
 * To shrink, what is cut off is made zeros first, so that growing again never
 * shows it; to grow, what a longer base has behind the old end is hidden.
 * Compact looks for clusters that no entry names: those that were
 * given up in an earlier life of the image, or handed out to a write that
 * never came to its record.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

/* [from, to) is zeros, durably. */
static int make_zeros(struct image *image, enum image_op op, uint64_t from,
		      uint64_t to, struct err *err)
{
	struct image_queue *queue = image_queue_new(image, 1, err);
	struct image_request zero = {
		.op = op,
		.offset = from,
		.length = to - from,
		.fua = true,
	};
	struct image_request *done;

	if (!queue)
		return err ? err->code : -ENOMEM;
	image_submit(queue, &zero);
	image_reap(queue, 1, &done, 1);
	image_queue_free(queue);
	return zero.result < 0 ? err_sys(err, zero.result,
					 "can't clear the end of image '%s'",
					 image->path)
			       : 0;
}

/* What the base has between the old end and the new one. */
static int hide_base(struct image *image, uint64_t size_bytes, struct err *err)
{
	uint64_t from = image_size(image), to;

	image_lock(image);
	to = image->stack->base ? image->stack->base->base->size_bytes : 0;
	image_unlock(image);
	to = min_u64(div_up(to, 512) * 512, size_bytes);
	return from < to ? make_zeros(image, IMAGE_HIDE, from, to, err) : 0;
}

int image_resize(struct image *image, uint64_t size_bytes, struct err *err)
{
	struct head next;
	int r = image_need_writable(image, err);

	if (r < 0)
		return r;
	if (!size_bytes || size_bytes > IMAGE_SIZE_MAX || size_bytes % 512)
		return err_set(
			err, -EINVAL,
			"an image of %llu bytes: must be a multiple of 512, at most 64 TiB",
			(unsigned long long)size_bytes);
	if (size_bytes < image_size(image))
		r = make_zeros(image, IMAGE_ZERO, size_bytes, image_size(image),
			       err);
	else
		r = hide_base(image, size_bytes, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&image->commit_lock);
	next = image->head;
	next.size_bytes = size_bytes;
	r = image_write_head(image, &next, err);
	if (!r)
		__atomic_store_n(&image->size_bytes, size_bytes,
				 __ATOMIC_RELAXED);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}

struct used {
	uint64_t *bits;
	uint64_t max; /* clusters 1 to max */
};

static void mark(struct used *used, uint64_t cluster)
{
	if (cluster && cluster <= used->max)
		used->bits[cluster / 64] |= 1ULL << cluster % 64;
}

static bool is_used(const struct used *used, uint64_t cluster)
{
	return used->bits[cluster / 64] >> cluster % 64 & 1;
}

/* What the map in memory and in the file names, a page at a time. */
static int mark_map(struct layer *layer, struct used *used)
{
	struct image *image = layer->image;
	int r = 0;

	image_lock(image);
	for (uint32_t number = 0; !r; number++) {
		struct map_page *page;

		number = map_next_present(layer, number);
		if (number >= PAGES_MAX)
			break;
		r = map_page_need(layer, number, &page);
		if (!r && page->bad)
			r = -EIO;
		for (unsigned i = 0; !r && i < PAGE_ENTRIES; i++)
			mark(used, entry_cluster(page->entries[i]));
	}
	/* The journal, or an older state of the map, names these still. */
	for (size_t i = 0; i < layer->freed_count; i++)
		mark(used, layer->freed[i]);
	image_unlock(image);
	return r;
}

static int punch_unused(struct layer *layer, int file, const struct used *used)
{
	for (uint64_t c = 1, run; c <= used->max; c += run) {
		int r;

		run = 1;
		if (is_used(used, c))
			continue;
		while (c + run <= used->max && !is_used(used, c + run))
			run++;
		r = layer_zero(layer, file, layer_cluster_at(&layer->super, c),
			       run * IMAGE_CLUSTER_SIZE);
		if (r < 0)
			return r;
		if (layer->sealed)
			continue;
		image_lock(layer->image);
		(void)layer_add_free(layer, c, run);
		image_unlock(layer->image);
	}
	return 0;
}

/* New clusters come from behind `max` while this runs. */
static int compact_layer(struct layer *layer, uint64_t *freed, struct err *err)
{
	struct image *image = layer->image;
	struct vs_io *io = image->io;
	struct used used = { 0 };
	struct io_stat before, after;
	int r, file = io->ops->open(io, layer->path,
				    IO_READ_WRITE | IO_NO_FOLLOW, err);

	if (file < 0)
		return file;
	image_lock(image);
	layer->free_count = 0;
	used.max = layer->max_cluster;
	image_unlock(image);
	r = alloc_array(&used.bits, used.max / 64 + 1, sizeof(uint64_t), err);
	if (!r)
		r = io->ops->fstat(io, file, &before, err);
	if (!r) {
		r = mark_map(layer, &used);
		if (!r)
			r = punch_unused(layer, file, &used);
		if (r < 0)
			err_sys(err, r, "can't compact layer '%s'",
				layer->path);
	}
	if (!r)
		r = io->ops->fstat(io, file, &after, err);
	if (!r && before.allocated_bytes > after.allocated_bytes)
		*freed += before.allocated_bytes - after.allocated_bytes;
	io->ops->close(io, file);
	free(used.bits);
	return r;
}

int image_compact(struct image *image, uint64_t *freed_bytes, struct err *err)
{
	uint64_t freed = 0;
	struct stack *stack;
	int r = image_need_writable(image, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&image->commit_lock);
	r = image_checkpoint(image, err);
	image_lock(image);
	stack = stack_get(image->stack);
	image_unlock(image);
	for (size_t i = 0; !r && i < stack->count; i++)
		r = compact_layer(stack->layers[i], &freed, err);
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	pthread_mutex_unlock(&image->commit_lock);
	if (!r)
		*freed_bytes = freed;
	return r;
}
