/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands where: the walks over the maps of a stack. Pages that no layer
 * has are stepped over whole, so a walk takes time by what was written, not
 * by the size of the disk.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

#define UNIT_BLOCKS_LAST (BLOCKS_PER_UNIT - 1)

size_t stack_count_to(const struct stack *stack, uint64_t number)
{
	size_t count = 0;

	while (count < stack->count &&
	       stack->layers[count]->super.number <= number)
		count++;
	return count;
}

/* The first page from `page` on that one of the layers may have. */
static uint32_t next_present(const struct stack *stack, size_t count,
			     uint32_t page)
{
	uint32_t first = PAGES_MAX;

	for (size_t i = 0; i < count; i++) {
		uint32_t at;

		if (stack->layers[i]->broken)
			return page;
		at = map_next_present(stack->layers[i], page);
		if (at < first)
			first = at;
	}
	return first;
}

/* [from, to) that no layer has: the base's, then zeros. */
static int nowhere(const struct stack *stack, uint64_t from, uint64_t to,
		   stack_run_fn *fn, void *arg, struct err *err)
{
	struct run run = { .kind = RUN_BASE };
	uint64_t end = stack->base ? stack->base->base->size_bytes : 0;
	int r = 0;

	end = div_up(end, IMAGE_BLOCK_SIZE) * IMAGE_BLOCK_SIZE;
	if (from < end) {
		r = fn(arg, from, min_u64(to, end) - from, &run, err);
		from = min_u64(to, end);
	}
	run.kind = RUN_ZERO;
	if (!r && from < to)
		r = fn(arg, from, to - from, &run, err);
	return r;
}

/* -EBADMSG: what is hurt; all else is the host's. */
static int resolve_unit(struct image *image, const struct stack *stack,
			size_t count, uint64_t unit, struct run runs[16],
			unsigned *n)
{
	struct layer *missing;
	int r;

	image_lock(image);
	do {
		r = stack_resolve(stack, count, unit, 0, UNIT_BLOCKS_LAST, runs,
				  n, &missing);
		if (r == -EIO)
			r = -EBADMSG;
		if (r != 1)
			break;
		r = map_page_load(missing, page_of_unit(unit));
	} while (r >= 0);
	image_unlock(image);
	return r;
}

static int each_of_unit(struct image *image, const struct stack *stack,
			size_t count, uint64_t from, uint64_t to,
			stack_run_fn *fn, void *arg, struct err *err)
{
	uint64_t unit = from / IMAGE_CLUSTER_SIZE;
	struct run runs[16];
	unsigned n = 0;
	int r = resolve_unit(image, stack, count, unit, runs, &n);

	if (r == -EBADMSG)
		return err_set(
			err, r,
			"image '%s' is damaged at byte %llu: 'image check' says what is hurt",
			image->path, (unsigned long long)from);
	if (r < 0)
		return err_sys(err, r, "the map of image '%s' at byte %llu",
			       image->path, (unsigned long long)from);
	for (unsigned i = 0; !r && i < n; i++) {
		uint64_t start = unit * IMAGE_CLUSTER_SIZE +
				 (uint64_t)runs[i].first * IMAGE_BLOCK_SIZE;
		uint64_t end =
			start + (uint64_t)runs[i].count * IMAGE_BLOCK_SIZE;

		if (end <= from || start >= to)
			continue;
		if (start < from) {
			if (runs[i].kind == RUN_DATA)
				runs[i].file_offset += from - start;
			start = from;
		}
		r = fn(arg, start, min_u64(end, to) - start, &runs[i], err);
	}
	return r;
}

int stack_each_run(struct image *image, const struct stack *stack, size_t count,
		   uint64_t from, uint64_t to, stack_run_fn *fn, void *arg,
		   struct err *err)
{
	int r = 0;

	while (!r && from < to) {
		uint32_t page = page_of_unit(from / IMAGE_CLUSTER_SIZE), next;
		uint64_t end;

		image_lock(image);
		next = next_present(stack, count, page);
		image_unlock(image);
		if (next > page) {
			end = (uint64_t)next * PAGE_ENTRIES *
			      IMAGE_CLUSTER_SIZE;
			end = min_u64(end, to);
			r = nowhere(stack, from, end, fn, arg, err);
		} else {
			end = (from / IMAGE_CLUSTER_SIZE + 1) *
			      IMAGE_CLUSTER_SIZE;
			end = min_u64(end, to);
			r = each_of_unit(image, stack, count, from, end, fn,
					 arg, err);
		}
		from = end;
	}
	return r;
}

static enum image_extent_kind kind_of(const struct run *run)
{
	switch (run->kind) {
	case RUN_DATA:
		return IMAGE_EXTENT_DATA;
	case RUN_BASE:
		return IMAGE_EXTENT_BASE;
	case RUN_ZERO:
		break;
	}
	return IMAGE_EXTENT_ZERO;
}

/* 1: it is another one, the end of the first was found. */
static int add_to_extent(void *arg, uint64_t offset, uint64_t length,
			 const struct run *run, struct err *err)
{
	struct image_extent *out = arg;
	struct image_extent at = {
		.offset = offset,
		.length = length,
		.kind = kind_of(run),
		.layer = run->layer ? run->layer->super.number : 0,
		.file_offset = run->kind == RUN_DATA ? run->file_offset : 0,
	};

	(void)err;
	if (!out->length) {
		*out = at;
		return 0;
	}
	if (at.kind != out->kind || at.layer != out->layer ||
	    (at.kind == IMAGE_EXTENT_DATA &&
	     at.file_offset != out->file_offset + out->length))
		return 1;
	out->length += length;
	return 0;
}

/* What can't be told counts as data: reading it says more. */
static void look_at_base(const struct stack *stack, struct image_extent *found)
{
	struct image_base *base = stack->base ? stack->base->base : NULL;
	uint64_t run;
	bool zero;

	if (found->kind != IMAGE_EXTENT_BASE || !base || !base->extent ||
	    found->offset >= base->size_bytes)
		return;
	run = min_u64(found->length, base->size_bytes - found->offset);
	if (base->extent(base, found->offset, run, &zero, &run))
		return;
	found->length = run;
	if (zero)
		found->kind = IMAGE_EXTENT_ZERO;
}

static int find_extent(struct image *image, uint64_t offset, uint64_t length,
		       bool with_base, struct image_extent *out,
		       struct err *err)
{
	struct image_extent found = { 0 };
	uint64_t size = image_size(image);
	struct stack *stack;
	int r;

	if (offset >= size || !length)
		return err_set(err, -EINVAL, "byte %llu is past the disk's end",
			       (unsigned long long)offset);
	length = min_u64(length, size - offset);
	image_lock(image);
	stack = stack_get(image->stack);
	image_unlock(image);
	r = stack_each_run(image, stack, stack->count, offset, offset + length,
			   add_to_extent, &found, err);
	/* The base of this stack: a swap may close it as soon as it is let go. */
	if (with_base && found.length)
		look_at_base(stack, &found);
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	/* What stands before a hurt unit is known all the same. */
	if (r < 0 && !found.length)
		return r;
	*out = found;
	return 0;
}

int image_extent(struct image *image, uint64_t offset, uint64_t length,
		 struct image_extent *out, struct err *err)
{
	return find_extent(image, offset, length, false, out, err);
}

int image_extent_deep(struct image *image, uint64_t offset, uint64_t length,
		      struct image_extent *out, struct err *err)
{
	return find_extent(image, offset, length, true, out, err);
}

struct sealed_walk {
	image_extent_fn *fn;
	void *arg;
	uint64_t offset, length;
	bool zero;
};

static int flush_walk(struct sealed_walk *walk, struct err *err)
{
	uint64_t length = walk->length;

	walk->length = 0;
	return length ? walk->fn(walk->arg, walk->offset, length, walk->zero,
				 err)
		      : 0;
}

static int add_to_walk(void *arg, uint64_t offset, uint64_t length,
		       const struct run *run, struct err *err)
{
	struct sealed_walk *walk = arg;
	bool zero = run->kind == RUN_ZERO;
	int r;

	/* In no layer. */
	if (!run->layer)
		return flush_walk(walk, err);
	if (walk->length && walk->zero == zero &&
	    walk->offset + walk->length == offset) {
		walk->length += length;
		return 0;
	}
	r = flush_walk(walk, err);
	walk->offset = offset;
	walk->length = length;
	walk->zero = zero;
	return r;
}

/* The layers up to `number`, which must be sealed. */
static int sealed_stack(struct image *image, uint64_t number,
			struct stack **out, size_t *count, struct err *err)
{
	int r = 0;

	image_lock(image);
	*count = stack_count_to(image->stack, number);
	if (!*count ||
	    (*count == image->stack->count && !image->sealed_layer) ||
	    image->stack->layers[*count - 1]->super.number != number)
		r = -EINVAL;
	else
		*out = stack_get(image->stack);
	image_unlock(image);
	return r ? err_set(err, r, "image '%s' has no sealed layer %llu",
			   image->path, (unsigned long long)number)
		 : 0;
}

int image_sealed_extents(struct image *image, uint64_t layer,
			 image_extent_fn *fn, void *arg, struct err *err)
{
	struct sealed_walk walk = { .fn = fn, .arg = arg };
	struct stack *stack;
	size_t count;
	int r = sealed_stack(image, layer, &stack, &count, err);

	if (r < 0)
		return r;
	r = stack_each_run(image, stack, count, 0, image_size(image),
			   add_to_walk, &walk, err);
	if (!r)
		r = flush_walk(&walk, err);
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	return r;
}

int image_read_at(struct image *image, uint64_t layer, void *buffer,
		  size_t length, uint64_t offset)
{
	uint8_t *at = buffer;
	struct stack *stack;
	size_t count;
	int r;

	/* It may have been larger then. */
	if (offset > IMAGE_SIZE_MAX || length > IMAGE_SIZE_MAX - offset)
		return -EINVAL;
	r = sealed_stack(image, layer, &stack, &count, NULL);
	if (r < 0)
		return r;
	while (!r && length) {
		size_t n = (size_t)min_u64(length,
					   IMAGE_CLUSTER_SIZE -
						   offset % IMAGE_CLUSTER_SIZE);

		r = stack_read_unit(image, stack, count, at, n, offset);
		at += n;
		offset += n;
		length -= n;
	}
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	return r;
}
