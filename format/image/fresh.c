/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks became valid since the last record, and which of them a record
 * answers for with its checks.
 *
 * A flush with few new blocks is one sync: data and record go to the disk
 * together, and the record holds a check of each new block. Until a later
 * record is durable those blocks are bound: as long as theirs is the last
 * record their bytes are asked for when the power comes back, so nobody may
 * change them before. What is not known here block by block (more than a
 * record can check, a discard, a flush that failed) is flushed with two syncs.
 */
#include <string.h>

#include "format/image/image_private.h"

static struct block_set *find(struct block_list *list, uint64_t unit)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (list->sets[i].unit == unit)
			return &list->sets[i];
	}
	return NULL;
}

void fresh_unknown(struct layer *layer)
{
	layer->fresh_unknown = true;
	if (layer->fresh)
		layer->fresh->now.count = layer->fresh->now.blocks = 0;
}

void fresh_add(struct layer *layer, uint64_t unit, unsigned mask)
{
	unsigned blocks = (unsigned)__builtin_popcount(mask);
	struct block_list *now;
	struct block_set *set;

	if (layer->fresh_unknown)
		return;
	if (!layer->fresh)
		layer->fresh = calloc(1, sizeof(*layer->fresh));
	if (!layer->fresh ||
	    layer->fresh->now.blocks + blocks > JOURNAL_CHECKS_MAX) {
		fresh_unknown(layer);
		return;
	}
	now = &layer->fresh->now;
	set = find(now, unit);
	if (!set) {
		set = &now->sets[now->count++];
		*set = (struct block_set){ .unit = unit };
	}
	set->mask |= mask;
	now->blocks += blocks;
}

static bool any_held(const struct layer *layer)
{
	const struct block_list *now = &layer->fresh->now;

	if (image_sabotage & SABOTAGE_CHECK_BUSY)
		return false;
	for (unsigned i = 0; i < now->count; i++) {
		if (unit_is_held(layer->image, now->sets[i].unit))
			return true;
	}
	return false;
}

bool fresh_may_check(const struct layer *layer)
{
	return layer->fresh && !layer->fresh_unknown && !layer->freed_count &&
	       layer->unrecorded_count &&
	       layer->fresh->now.count == layer->unrecorded_count &&
	       journal_fits(layer, layer->unrecorded_count,
			    layer->fresh->now.blocks) &&
	       !any_held(layer);
}

static size_t list_blocks(struct layer *layer, const struct block_set *set,
			  struct block_check *checks)
{
	/* It is dirty, and so it is in memory. */
	const struct map_page *page =
		map_page_find(layer, page_of_unit(set->unit));
	uint64_t cluster =
		entry_cluster(page->entries[set->unit % PAGE_ENTRIES]);
	size_t count = 0;

	for (unsigned mask = set->mask; mask; mask &= mask - 1)
		checks[count++].block = cluster * BLOCKS_PER_UNIT +
					(unsigned)__builtin_ctz(mask);
	return count;
}

size_t fresh_take(struct layer *layer, struct block_check *checks)
{
	struct fresh *fresh = layer->fresh;
	size_t count = 0;

	if (checks) {
		for (unsigned i = 0; i < fresh->now.count; i++)
			count += list_blocks(layer, &fresh->now.sets[i],
					     checks + count);
		fresh->taken = fresh->now;
	}
	if (fresh)
		fresh->now.count = fresh->now.blocks = 0;
	layer->fresh_unknown = false;
	return count;
}

void fresh_recorded(struct layer *layer)
{
	struct fresh *fresh = layer->fresh;

	if (!fresh)
		return;
	fresh->bound = fresh->taken;
	fresh->taken.count = fresh->taken.blocks = 0;
}

void fresh_untake(struct layer *layer)
{
	if (layer->fresh)
		layer->fresh->taken.count = layer->fresh->taken.blocks = 0;
}

bool fresh_has_bound(const struct layer *layer)
{
	return layer->fresh && layer->fresh->bound.count;
}

bool fresh_is_bound(const struct layer *layer, uint64_t unit, unsigned from,
		    unsigned to)
{
	struct fresh *fresh = layer->fresh;
	unsigned end = (to + IMAGE_BLOCK_SIZE - 1) / IMAGE_BLOCK_SIZE;
	unsigned mask = (1u << end) - (1u << from / IMAGE_BLOCK_SIZE);
	const struct block_set *set;

	if (!fresh || image_sabotage & SABOTAGE_NO_CONFIRM)
		return false;
	set = find(&fresh->bound, unit);
	if (set && set->mask & mask)
		return true;
	set = find(&fresh->taken, unit);
	return set && set->mask & mask;
}
