/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to one unit of the top layer. Blocks that it has are overwritten in
 * place; others go to the unit's cluster, and their bits are set only when
 * they are there. A cluster is all zeros when it is handed out, so a unit
 * that was discarded gets one without anything being written to it first.
 *
 * A part of a block that the layer does not have is merged with what lies
 * beneath, by a helper that has the unit alone.
 */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

static struct layer *top_for_write(const struct image *image,
				   const struct stack *stack)
{
	(void)image;
	if (image_sabotage & SABOTAGE_SEAL_LEAK && stack->count > 1 &&
	    !stack->layers[stack->count - 2]->sealed)
		return stack->layers[stack->count - 2];
	return stack_top(stack);
}

bool write_needs_merge(uint64_t entry, unsigned from, unsigned to)
{
	unsigned mask = entry_mask(entry);

	if (from % IMAGE_BLOCK_SIZE && !(mask >> from / IMAGE_BLOCK_SIZE & 1))
		return true;
	return to % IMAGE_BLOCK_SIZE && !(mask >> to / IMAGE_BLOCK_SIZE & 1);
}

int write_take_cluster(struct layer *top, struct map_page *page, unsigned index)
{
	uint64_t entry = page->entries[index], cluster;
	int r;

	if (entry_cluster(entry))
		return 0;
	r = layer_take_cluster(top, &cluster);
	if (r < 0)
		return r;
	page->entries[index] = entry | cluster;
	/* Who overwrites such a block must find it in the next flush. */
	if (entry_mask(entry)) {
		map_entry_changed(page, index);
		fresh_unknown(top);
	}
	return 0;
}

void write_set_bits(struct layer *top, struct map_page *page, unsigned index,
		    unsigned from, unsigned to)
{
	unsigned first = from / IMAGE_BLOCK_SIZE;
	unsigned end = (to + IMAGE_BLOCK_SIZE - 1) / IMAGE_BLOCK_SIZE;
	uint64_t bits = entry_make(0, (1u << end) - (1u << first));
	uint64_t fresh = bits & ~page->entries[index];

	top->unsynced = true;
	if (!fresh)
		return;
	page->entries[index] |= bits;
	map_entry_changed(page, index);
	if (entry_cluster(page->entries[index]))
		fresh_add(top, (uint64_t)page->number * PAGE_ENTRIES + index,
			  entry_mask(fresh));
	else
		fresh_unknown(top);
}

/* 1: a helper must do it. */
static int plan_write(struct part *part, struct layer *top, unsigned from,
		      unsigned to, uint64_t *at)
{
	struct image *image = part->queue->image;
	uint64_t unit = part->offset / IMAGE_CLUSTER_SIZE, entry;
	unsigned index = (unsigned)(unit % PAGE_ENTRIES);
	struct map_page *page;
	int r;

	page = map_page_get(top, page_of_unit(unit), &r);
	if (r < 0)
		return r;
	if (!page ||
	    (!page->dirty && image->map.dirty >= image->map.dirty_limit))
		return 1;
	r = map_lookup(top, unit, &entry);
	if (r)
		return r;
	if (write_needs_merge(entry, from, to) ||
	    fresh_is_bound(top, unit, from, to))
		return 1;
	r = write_take_cluster(top, page, index);
	if (r < 0)
		return r;
	*at = layer_cluster_at(&top->super,
			       entry_cluster(page->entries[index])) +
	      from;
	page->pins++;
	part->page = page;
	if (image_sabotage & SABOTAGE_BIT_EARLY)
		write_set_bits(top, page, index, from, to);
	return 0;
}

void write_start(struct part *part)
{
	struct image *image = part->queue->image;
	unsigned from = (unsigned)(part->offset % IMAGE_CLUSTER_SIZE);
	struct segment *segment = NULL;
	struct layer *top;
	uint64_t at = 0;
	int r;

	image_lock(image);
	part_take_stack(part);
	top = top_for_write(image, part->stack);
	if (!unit_acquire(part, part->offset / IMAGE_CLUSTER_SIZE, false)) {
		image_unlock(image);
		return;
	}
	r = plan_write(part, top, from, from + (unsigned)part->length, &at);
	if (!r) {
		segment = segment_new(part, top);
		if (!segment)
			r = -ENOMEM;
	}
	if (r == 1) {
		part_to_helper(part);
		image_unlock(image);
		return;
	}
	if (r < 0)
		part_release(part);
	image_unlock(image);
	if (r < 0) {
		part->result = r;
		part_finish(part);
		return;
	}
	segment->io.file = top->file;
	segment_submit(segment, IO_OP_WRITE, part->buffer, part->length, at);
}

void write_complete(struct part *part)
{
	struct image *image = part->queue->image;
	unsigned from = (unsigned)(part->offset % IMAGE_CLUSTER_SIZE);
	uint64_t unit = part->offset / IMAGE_CLUSTER_SIZE;

	image_lock(image);
	if (part->result >= 0)
		write_set_bits(part->page->layer, part->page,
			       (unsigned)(unit % PAGE_ENTRIES), from,
			       from + (unsigned)part->length);
	/* What came of it is not known, so it may be on its way. */
	part->page->layer->unsynced = true;
	part_release(part);
	image_unlock(image);
	part_finish(part);
}

/* Whole blocks around [from, to), with what is there where it isn't ours. */
static int merge_blocks(struct part *part, uint64_t unit, unsigned from,
			unsigned to, const uint8_t *data, uint8_t *blocks)
{
	struct image *image = part->queue->image;
	unsigned begin = from / IMAGE_BLOCK_SIZE * IMAGE_BLOCK_SIZE;
	unsigned last = (to - 1) / IMAGE_BLOCK_SIZE * IMAGE_BLOCK_SIZE;
	uint64_t base = unit * IMAGE_CLUSTER_SIZE;
	int r = 0;

	if (from % IMAGE_BLOCK_SIZE || (begin == last && to % IMAGE_BLOCK_SIZE))
		r = stack_read_unit(image, part->stack, part->stack->count,
				    blocks, IMAGE_BLOCK_SIZE, base + begin);
	if (!r && begin != last && to % IMAGE_BLOCK_SIZE)
		r = stack_read_unit(image, part->stack, part->stack->count,
				    blocks + (last - begin), IMAGE_BLOCK_SIZE,
				    base + last);
	if (!r)
		memcpy(blocks + (from - begin), data, to - from);
	return r;
}

static int write_now(struct part *part, struct layer *top, uint64_t unit,
		     uint64_t cluster_at, unsigned from, unsigned to,
		     const uint8_t *data, bool merge)
{
	unsigned begin = from / IMAGE_BLOCK_SIZE * IMAGE_BLOCK_SIZE;
	unsigned end =
		(unsigned)div_up(to, IMAGE_BLOCK_SIZE) * IMAGE_BLOCK_SIZE;
	struct vs_io *io = part->queue->image->io;
	autofree uint8_t *blocks = NULL;
	int r;

	if (!merge)
		return io_write_full(io, top->file, data, to - from,
				     cluster_at + from);
	blocks = malloc(end - begin);
	if (!blocks)
		return -ENOMEM;
	r = merge_blocks(part, unit, from, to, data, blocks);
	if (r < 0)
		return r;
	return io_write_full(io, top->file, blocks, end - begin,
			     cluster_at + begin);
}

int write_range(struct part *part, uint64_t unit, unsigned from, unsigned to,
		const uint8_t *data)
{
	struct image *image = part->queue->image;
	struct layer *top = top_for_write(image, part->stack);
	unsigned index = (unsigned)(unit % PAGE_ENTRIES);
	uint64_t entry, at = 0;
	struct map_page *page;
	bool merge = false;
	int r = image_make_room(image);

	if (r < 0)
		return r;
	image_lock(image);
	/* We have the unit: no later flush binds its blocks meanwhile. */
	if (fresh_is_bound(top, unit, from, to)) {
		image_unlock(image);
		r = image_confirm(image, top);
		if (r < 0)
			return r;
		image_lock(image);
	}
	r = map_page_need(top, page_of_unit(unit), &page);
	if (!r)
		r = map_lookup(top, unit, &entry);
	if (!r) {
		merge = write_needs_merge(entry, from, to);
		if (merge && !part->exclusive)
			r = -EAGAIN;
	}
	if (!r)
		r = write_take_cluster(top, page, index);
	if (!r) {
		at = layer_cluster_at(&top->super,
				      entry_cluster(page->entries[index]));
		page->pins++;
	}
	image_unlock(image);
	if (r)
		return r;
	r = write_now(part, top, unit, at, from, to, data, merge);
	image_lock(image);
	page->pins--;
	top->unsynced = true;
	if (!r)
		write_set_bits(top, page, index, from, to);
	image_unlock(image);
	return r;
}

bool write_slow(struct part *part)
{
	struct image *image = part->queue->image;
	uint64_t unit = part->offset / IMAGE_CLUSTER_SIZE;
	unsigned from = (unsigned)(part->offset % IMAGE_CLUSTER_SIZE);
	unsigned to = from + (unsigned)part->length;
	bool mine;

	if (part->result < 0)
		return true;
	part->result = write_range(part, unit, from, to, part->buffer);
	if (part->result != -EAGAIN || part->exclusive)
		return true;
	/* Alone, then: behind those who are at it. */
	part->result = 0;
	image_lock(image);
	unit_release(part);
	mine = unit_acquire(part, unit, true);
	image_unlock(image);
	if (!mine)
		return false;
	part->result = write_range(part, unit, from, to, part->buffer);
	return true;
}
