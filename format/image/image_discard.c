/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discard and write-zeroes, unit by unit, each held alone. A whole unit gives
 * up its cluster; blocks of a cluster are made zeros in it. Where nothing
 * lies beneath and nothing was written, nothing needs to be said, so a blank
 * disk of any size is discarded in no time. It is said all the same where a
 * base is to come that must not show.
 */
#include <errno.h>

#include "format/image/image_private.h"

static const uint8_t zeros[IMAGE_BLOCK_SIZE];

/* No layer and no base below the top has anything to say here, now or later. */
static bool nothing_beneath(const struct part *part, uint64_t unit)
{
	const struct stack *stack = part->stack;

	return part->op != IMAGE_HIDE && stack->count == 1 &&
	       (!stack->base ||
		unit * IMAGE_CLUSTER_SIZE >= stack->base->base->size_bytes);
}

static int discard_whole(struct layer *top, struct map_page *page,
			 unsigned index, bool nothing)
{
	uint64_t entry = page->entries[index];
	int r;

	if (entry == ENTRY_ZEROS || (nothing && !entry_mask(entry)))
		return 0;
	if (entry_cluster(entry)) {
		r = layer_give_up(top, entry_cluster(entry));
		if (r < 0)
			return r;
	}
	page->entries[index] = ENTRY_ZEROS;
	map_entry_changed(page, index);
	fresh_unknown(top);
	return 0;
}

/* Whole blocks [from, to) that have a cluster: zeros in it. */
static int zero_in_cluster(struct image *image, struct layer *top,
			   struct map_page *page, unsigned index, unsigned from,
			   unsigned to)
{
	uint64_t at = layer_cluster_at(&top->super,
				       entry_cluster(page->entries[index]));
	int r;

	page->pins++;
	image_unlock(image);
	r = layer_zero(top, top->file, at + from, to - from);
	image_lock(image);
	page->pins--;
	top->unsynced = true;
	if (!r)
		write_set_bits(top, page, index, from, to);
	return r;
}

/* [from, to) of a unit, a multiple of blocks. */
static int discard_blocks(struct part *part, uint64_t unit, unsigned from,
			  unsigned to, bool whole)
{
	struct image *image = part->queue->image;
	struct layer *top = stack_top(part->stack);
	unsigned index = (unsigned)(unit % PAGE_ENTRIES);
	bool nothing = nothing_beneath(part, unit);
	uint64_t blocks =
		(1u << to / IMAGE_BLOCK_SIZE) - (1u << from / IMAGE_BLOCK_SIZE);
	struct map_page *page;
	uint64_t entry;
	int r = image_make_room(image);

	if (r < 0)
		return r;
	image_lock(image);
	if (!whole && fresh_is_bound(top, unit, from, to)) {
		image_unlock(image);
		r = image_confirm(image, top);
		if (r < 0)
			return r;
		image_lock(image);
	}
	r = map_page_need(top, page_of_unit(unit), &page);
	if (!r)
		r = map_lookup(top, unit, &entry);
	if (r)
		; /* hurt, or out of memory */
	else if (whole)
		r = discard_whole(top, page, index, nothing);
	else if (nothing && !(entry_mask(entry) & blocks))
		; /* zeros already */
	else if (entry_cluster(entry))
		r = zero_in_cluster(image, top, page, index, from, to);
	else if (!nothing)
		write_set_bits(top, page, index, from, to);
	image_unlock(image);
	return r;
}

/* Less than a block: zeros are written, unless it reads as zeros already. */
static int zero_bytes(struct part *part, uint64_t unit, unsigned from,
		      unsigned to)
{
	struct image *image = part->queue->image;
	struct layer *top = stack_top(part->stack);
	struct map_page *page;
	uint64_t entry;
	bool there;
	int r;

	image_lock(image);
	r = map_page_need(top, page_of_unit(unit), &page);
	if (!r)
		r = map_lookup(top, unit, &entry);
	image_unlock(image);
	if (r)
		return r;
	there = entry_mask(entry) >> from / IMAGE_BLOCK_SIZE & 1;
	if (there ? !entry_cluster(entry) : nothing_beneath(part, unit))
		return 0;
	return write_range(part, unit, from, to, zeros);
}

/* [from, to) of the unit; a last unit may be whole before 64 KiB. */
static int discard_unit(struct part *part, uint64_t unit, unsigned from,
			unsigned to, unsigned end)
{
	unsigned first =
		(unsigned)div_up(from, IMAGE_BLOCK_SIZE) * IMAGE_BLOCK_SIZE;
	unsigned last = to / IMAGE_BLOCK_SIZE * IMAGE_BLOCK_SIZE;
	bool exact = part->op != IMAGE_DISCARD;
	int r = 0;

	if (!from && to == end)
		return discard_blocks(part, unit, 0, IMAGE_CLUSTER_SIZE, true);
	if (first > last)
		return exact ? zero_bytes(part, unit, from, to) : 0;
	if (exact && from < first)
		r = zero_bytes(part, unit, from, first);
	if (!r && first < last)
		r = discard_blocks(part, unit, first, last, false);
	if (!r && exact && last < to)
		r = zero_bytes(part, unit, last, to);
	return r;
}

/* Over pages that the top does not have, when nothing lies beneath. */
static void skip_nothing(struct part *part)
{
	struct layer *top = stack_top(part->stack);

	while (part->length) {
		uint64_t unit = part->offset / IMAGE_CLUSTER_SIZE, end;

		if (!nothing_beneath(part, unit) ||
		    map_page_present(top, page_of_unit(unit)))
			return;
		end = ((uint64_t)page_of_unit(unit) + 1) * PAGE_ENTRIES *
		      IMAGE_CLUSTER_SIZE;
		end = min_u64(end - part->offset, part->length);
		part->offset += end;
		part->length -= end;
	}
}

static bool hold_unit(struct part *part)
{
	struct image *image = part->queue->image;
	bool mine = true;

	if (part->unit)
		return true;
	image_lock(image);
	skip_nothing(part);
	if (part->length)
		mine = unit_acquire(part, part->offset / IMAGE_CLUSTER_SIZE,
				    true);
	image_unlock(image);
	return mine;
}

bool discard_slow(struct part *part)
{
	struct image *image = part->queue->image;
	uint64_t size = image_size(image);

	while (part->length && part->result >= 0) {
		uint64_t unit, n;
		unsigned from, end;

		if (!hold_unit(part))
			return false;
		if (!part->length)
			return true;
		unit = part->offset / IMAGE_CLUSTER_SIZE;
		from = (unsigned)(part->offset % IMAGE_CLUSTER_SIZE);
		n = min_u64(IMAGE_CLUSTER_SIZE - from, part->length);
		end = (unsigned)min_u64(IMAGE_CLUSTER_SIZE,
					max_u64(size, part->offset + n) -
						unit * IMAGE_CLUSTER_SIZE);
		part->result =
			discard_unit(part, unit, from, from + (unsigned)n, end);
		image_lock(image);
		unit_release(part);
		image_unlock(image);
		part->offset += n;
		part->length -= n;
	}
	return true;
}
