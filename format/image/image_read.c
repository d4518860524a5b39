/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of one unit. What the layers have is read by the caller's I/O queue;
 * where a map page must be loaded or the base would block, a helper does the
 * whole part.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

struct plan {
	struct run runs[16];
	unsigned count;
};

static void span(const struct part *part, unsigned *first, unsigned *last)
{
	uint64_t from = part->offset % IMAGE_CLUSTER_SIZE;

	*first = (unsigned)(from / IMAGE_BLOCK_SIZE);
	*last = (unsigned)((from + part->length - 1) / IMAGE_BLOCK_SIZE);
}

/* The bytes of a run that the part asks for: from its own start, how many,
 * and how far into the run. */
static void clip(const struct part *part, const struct run *run, size_t *at,
		 size_t *length, uint64_t *in)
{
	uint64_t base = part->offset % IMAGE_CLUSTER_SIZE;
	uint64_t from = (uint64_t)run->first * IMAGE_BLOCK_SIZE;
	uint64_t to = from + (uint64_t)run->count * IMAGE_BLOCK_SIZE;
	uint64_t start = max_u64(from, base);

	*at = (size_t)(start - base);
	*length = (size_t)(min_u64(to, base + part->length) - start);
	*in = start - from;
}

/* What needs no I/O of ours; -EAGAIN: the base would block. */
static int fill_quick(struct part *part, const struct plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct run *run = &plan->runs[i];
		size_t at, length, there;
		struct image_base *base;
		uint64_t in, offset;
		int r;

		clip(part, run, &at, &length, &in);
		if (run->kind == RUN_ZERO)
			memset(part->buffer + at, 0, length);
		if (run->kind != RUN_BASE)
			continue;
		base = part->stack->base->base;
		if (!base->try_read)
			return -EAGAIN;
		offset = part->offset + at;
		there = (size_t)min_u64(length,
					base->size_bytes > offset
						? base->size_bytes - offset
						: 0);
		memset(part->buffer + at + there, 0, length - there);
		r = there ? base->try_read(base, part->buffer + at, there,
					   offset)
			  : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static void submit_runs(struct part *part, const struct plan *plan,
			struct segment *const segments[16])
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct run *run = &plan->runs[i];
		size_t at, length;
		uint64_t in;

		if (run->kind != RUN_DATA)
			continue;
		clip(part, run, &at, &length, &in);
		segment_submit(segments[i], IO_OP_READ, part->buffer + at,
			       length, run->file_offset + in);
	}
}

/* Files and segments for all runs of data; all or none. By image->lock. */
static int prepare_runs(struct part *part, const struct plan *plan,
			struct segment *segments[16])
{
	for (unsigned i = 0; i < plan->count; i++) {
		const struct run *run = &plan->runs[i];
		int file;

		if (run->kind != RUN_DATA)
			continue;
		file = layer_use(run->layer);
		segments[i] = file < 0 ? NULL : segment_new(part, run->layer);
		if (segments[i]) {
			segments[i]->io.file = file;
			continue;
		}
		if (file >= 0)
			layer_unuse(run->layer);
		while (i--) {
			if (plan->runs[i].kind != RUN_DATA)
				continue;
			layer_unuse(plan->runs[i].layer);
			part->segments--;
			segments[i]->next = part->queue->free_segments;
			part->queue->free_segments = segments[i];
		}
		return file < 0 ? file : -ENOMEM;
	}
	return 0;
}

static bool has_base(const struct plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		if (plan->runs[i].kind == RUN_BASE)
			return true;
	}
	return false;
}

static bool all_zero(const struct plan *plan)
{
	return plan->count == 1 && plan->runs[0].kind == RUN_ZERO;
}

void read_start(struct part *part)
{
	struct image *image = part->queue->image;
	struct segment *segments[16] = { 0 };
	struct layer *missing;
	struct plan plan;
	unsigned first, last;
	int r;

	span(part, &first, &last);
	image_lock(image);
	part_take_stack(part);
	if (!unit_acquire(part, part->offset / IMAGE_CLUSTER_SIZE, false)) {
		image_unlock(image);
		return;
	}
	r = stack_resolve(part->stack, part->stack->count,
			  part->offset / IMAGE_CLUSTER_SIZE, first, last,
			  plan.runs, &plan.count, &missing);
	if (!r && has_base(&plan)) {
		/* The unit is ours: nothing below changes meanwhile. */
		image_unlock(image);
		r = fill_quick(part, &plan);
		image_lock(image);
		if (r == -EAGAIN)
			r = 1;
	} else if (!r) {
		r = fill_quick(part, &plan);
	}
	if (!r && !all_zero(&plan))
		r = prepare_runs(part, &plan, segments);
	if (r == 1) {
		part_to_helper(part);
		image_unlock(image);
		return;
	}
	if (r < 0)
		part->result = r;
	if (!part->segments)
		part_release(part);
	image_unlock(image);
	if (part->result < 0 || !part->segments)
		part_finish(part);
	else
		submit_runs(part, &plan, segments);
}

bool read_slow(struct part *part)
{
	struct image *image = part->queue->image;

	if (part->result >= 0)
		part->result = stack_read_unit(image, part->stack,
					       part->stack->count, part->buffer,
					       part->length, part->offset);
	return true;
}
