/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack: which layers over which base. A stack is never changed once
 * others can see it; a seal or a swap makes a new one, and the old one goes
 * with the last request that stands on it. So no request ever sees half a
 * change, and no file is closed under a read.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

/* The layers are the caller's to fill in, before anybody sees it. */
struct stack *stack_new(struct image *image, struct base_ref *base,
			size_t count)
{
	struct stack *stack =
		calloc(1, sizeof(*stack) + count * sizeof(struct layer *));

	(void)image;
	if (!stack)
		return NULL;
	stack->refs = 1;
	stack->count = count;
	stack->base = base;
	if (base)
		base->refs++;
	return stack;
}

struct stack *stack_get(struct stack *stack)
{
	stack->refs++;
	return stack;
}

void stack_put(struct image *image, struct stack *stack)
{
	struct image_base *base = NULL;
	struct layer *dead = NULL;

	if (--stack->refs)
		return;
	for (size_t i = 0; i < stack->count; i++) {
		struct layer *layer = stack->layers[i];

		if (!layer || --layer->refs)
			continue;
		map_drop_layer(layer);
		if (layer->file >= 0)
			image->open_files--;
		dead = layer;
		image_unlock(image);
		layer_free(dead);
		image_lock(image);
	}
	if (stack->base && !--stack->base->refs) {
		base = stack->base->base;
		free(stack->base);
	}
	free(stack);
	if (base) {
		image_unlock(image);
		base->close(base);
		image_lock(image);
	}
}

struct place {
	struct layer *layer; /* NULL: in none */
	uint64_t cluster;
};

static bool continues(const struct run *run, enum run_kind kind,
		      const struct place *place, uint64_t file_offset)
{
	if (run->kind != kind || run->layer != place->layer)
		return false;
	return kind != RUN_DATA ||
	       run->file_offset + (uint64_t)run->count * IMAGE_BLOCK_SIZE ==
		       file_offset;
}

static enum run_kind kind_of(const struct stack *stack,
			     const struct place *place, uint64_t at)
{
	if (place->layer)
		return place->cluster ? RUN_DATA : RUN_ZERO;
	if (!stack->base || at >= stack->base->base->size_bytes)
		return RUN_ZERO;
	return RUN_BASE;
}

static unsigned make_runs(const struct stack *stack, uint64_t unit,
			  const struct place places[16], unsigned first,
			  unsigned last, struct run runs[16])
{
	unsigned count = 0;

	for (unsigned k = first; k <= last; k++) {
		const struct place *place = &places[k];
		uint64_t in = (uint64_t)k * IMAGE_BLOCK_SIZE;
		enum run_kind kind =
			kind_of(stack, place, unit * IMAGE_CLUSTER_SIZE + in);
		uint64_t at = 0;

		if (kind == RUN_DATA)
			at = layer_cluster_at(&place->layer->super,
					      place->cluster) +
			     in;
		if (count && continues(&runs[count - 1], kind, place, at)) {
			runs[count - 1].count++;
			continue;
		}
		runs[count++] = (struct run){ kind, place->layer, k, 1, at };
	}
	return count;
}

int stack_resolve(const struct stack *stack, size_t count, uint64_t unit,
		  unsigned first, unsigned last, struct run runs[16],
		  unsigned *run_count, struct layer **missing)
{
	struct place places[16] = { 0 };
	unsigned wanted = (2u << last) - (1u << first);

	while (count-- && wanted) {
		struct layer *layer = stack->layers[count];
		uint64_t entry;
		unsigned hit;
		int r = map_lookup(layer, unit, &entry);

		if (r) {
			*missing = layer;
			return r;
		}
		hit = wanted & entry_mask(entry);
		wanted &= ~hit;
		for (; hit; hit &= hit - 1)
			places[__builtin_ctz(hit)] =
				(struct place){ layer, entry_cluster(entry) };
	}
	*run_count = make_runs(stack, unit, places, first, last, runs);
	return 0;
}

int base_read(const struct base_ref *base, void *buffer, size_t length,
	      uint64_t offset)
{
	struct image_base *at = base->base;
	size_t there = 0;

	if (offset < at->size_bytes)
		there = (size_t)min_u64(length, at->size_bytes - offset);
	memset((uint8_t *)buffer + there, 0, length - there);
	return there ? at->read(at, buffer, there, offset) : 0;
}

/* From a file that may end before what was never written. */
static int read_or_zeros(struct vs_io *io, int file, uint8_t *buffer,
			 size_t length, uint64_t offset)
{
	while (length) {
		ssize_t got = io->ops->read(io, file, buffer, length, offset);

		if (got < 0)
			return (int)got;
		if (!got) {
			memset(buffer, 0, length);
			return 0;
		}
		buffer += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

struct piece {
	uint8_t *buffer;
	size_t length;
	uint64_t offset; /* of the volume */
	int file;
};

/* The part of a run that is asked for. */
static struct piece piece_of(const struct run *run, uint8_t *buffer,
			     size_t length, uint64_t offset)
{
	uint64_t unit = offset / IMAGE_CLUSTER_SIZE * IMAGE_CLUSTER_SIZE;
	uint64_t from = unit + (uint64_t)run->first * IMAGE_BLOCK_SIZE;
	uint64_t to = from + (uint64_t)run->count * IMAGE_BLOCK_SIZE;

	from = max_u64(from, offset);
	to = min_u64(to, offset + length);
	return (struct piece){ buffer + (from - offset), (size_t)(to - from),
			       from, -1 };
}

static int read_run(struct image *image, const struct stack *stack,
		    const struct run *run, const struct piece *piece)
{
	uint64_t in = piece->offset % IMAGE_CLUSTER_SIZE -
		      (uint64_t)run->first * IMAGE_BLOCK_SIZE;

	switch (run->kind) {
	case RUN_ZERO:
		memset(piece->buffer, 0, piece->length);
		return 0;
	case RUN_BASE:
		return base_read(stack->base, piece->buffer, piece->length,
				 piece->offset);
	case RUN_DATA:
		return read_or_zeros(image->io, piece->file, piece->buffer,
				     piece->length, run->file_offset + in);
	}
	return -EINVAL;
}

int stack_read_unit(struct image *image, const struct stack *stack,
		    size_t count, void *buffer, size_t length, uint64_t offset)
{
	uint64_t unit = offset / IMAGE_CLUSTER_SIZE;
	unsigned first =
		(unsigned)(offset % IMAGE_CLUSTER_SIZE / IMAGE_BLOCK_SIZE);
	unsigned last = (unsigned)((offset + length - 1) % IMAGE_CLUSTER_SIZE /
				   IMAGE_BLOCK_SIZE);
	struct layer *missing;
	struct run runs[16];
	unsigned n = 0;
	int r;

	image_lock(image);
	while ((r = stack_resolve(stack, count, unit, first, last, runs, &n,
				  &missing)) == 1) {
		r = map_page_load(missing, page_of_unit(unit));
		if (r < 0)
			break;
	}
	image_unlock(image);
	for (unsigned i = 0; !r && i < n; i++) {
		struct piece piece = piece_of(&runs[i], buffer, length, offset);

		if (runs[i].kind == RUN_DATA) {
			image_lock(image);
			piece.file = layer_use(runs[i].layer);
			image_unlock(image);
			if (piece.file < 0)
				return piece.file;
		}
		r = read_run(image, stack, &runs[i], &piece);
		if (runs[i].kind == RUN_DATA) {
			image_lock(image);
			layer_unuse(runs[i].layer);
			image_unlock(image);
		}
	}
	return r;
}
