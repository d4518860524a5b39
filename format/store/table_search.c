/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding one id: the filter, then the fences (which narrow to 16 blocks),
 * then interpolation between what is known of the blocks around; ids are
 * uniform, so one block is read as a rule, seldom two. Ids that are not
 * uniform cost more reads, never a wrong answer: after a few guesses the
 * range is halved, so the search ends.
 */
#include "format/store/table_private.h"

#include <errno.h>

#include "format/base/base.h"

#define GUESSES 3u

unsigned table_block_fill(const struct table *table, uint64_t block)
{
	assert(block < table->blocks);
	return (unsigned)min_u64(TABLE_BLOCK_ENTRIES,
				 table->entries - block * TABLE_BLOCK_ENTRIES);
}

const char *table_entry_wrong(const struct table *table,
			      const struct entry *entry)
{
	uint32_t number = le32_get(entry->pack);
	const struct table_pack *pack;

	if (number >= table_pack_count(table))
		return "a pack number past the end of the list";
	pack = &table->packs[number];
	return entry_wrong(entry,
			   le64_get(pack->size_bytes) -
				   PACK_TAIL_SIZE(le32_get(pack->count)));
}

int table_read_blocks(const struct table *table, struct sealer *sealer,
		      uint64_t first, unsigned count, uint8_t *sealed,
		      struct err *err)
{
	unsigned n;
	int r;

	assert(count <= table->blocks && first <= table->blocks - count);
	r = backend_get(table->backend, table->name, table_block_offset(first),
			sealed, (size_t)count * TABLE_BLOCK_SIZE, err);
	for (n = 0; n < count && r == 0; n++) {
		uint64_t offset = table_block_offset(first + n);
		uint8_t *block = sealed + (size_t)n * TABLE_BLOCK_SIZE;

		r = sealer_open(sealer, &table->key, offset, NULL, 0, block,
				TABLE_BLOCK_SIZE, block, err);
		if (r < 0)
			err_prefix(err, "table '%s': block %llu at offset %llu",
				   table->name, (unsigned long long)(first + n),
				   (unsigned long long)offset);
	}
	return r;
}

static int block_get(const struct table *table, struct sealer *sealer,
		     uint64_t number, struct table_block *out, struct err *err)
{
	uint8_t sealed[TABLE_BLOCK_SIZE];
	int r;

	if (table->cache &&
	    block_cache_get(table->cache, table->number, number, out))
		return 0;
	r = table_read_blocks(table, sealer, number, 1, sealed, err);
	if (r < 0)
		return r;
	memcpy(out, sealed, sizeof(*out));
	if (table->cache)
		block_cache_put(table->cache, table->number, number, out);
	return 0;
}

/* The first fence that is >= prefix (or > prefix); their count if none. */
static uint64_t fence_bound(const struct table *table, uint64_t prefix,
			    bool after)
{
	uint64_t low = 0, high = table->sections[SECTION_FENCES].count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		uint64_t fence = le64_get(table->fences[middle]);

		if (fence < prefix || (after && fence == prefix))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Blocks [low, high) that may hold an id, and the prefixes around them. */
struct search {
	uint64_t low, high;
	uint64_t low_prefix, high_prefix;
	unsigned guesses;
};

static bool search_begin(const struct table *table, uint64_t prefix,
			 struct search *search)
{
	uint64_t from = fence_bound(table, prefix, false);
	uint64_t to = fence_bound(table, prefix, true);

	if (to == 0)
		return false; /* below the first id */
	/* An id with the fence's very prefix may end the group before. */
	from = from ? from - 1 : 0;
	search->low = from * TABLE_FENCE_STRIDE;
	search->high = min_u64(to * TABLE_FENCE_STRIDE, table->blocks);
	search->low_prefix = le64_get(table->fences[from]);
	search->high_prefix = to < table->sections[SECTION_FENCES].count
				      ? le64_get(table->fences[to])
				      : UINT64_MAX;
	search->guesses = 0;
	return true;
}

static uint64_t search_guess(struct search *search, uint64_t prefix)
{
	uint64_t width = search->high - search->low;
	uint64_t span, part, step;

	if (search->guesses++ >= GUESSES || prefix < search->low_prefix ||
	    search->high_prefix <= search->low_prefix)
		return search->low + width / 2;
	span = search->high_prefix - search->low_prefix;
	part = min_u64(prefix - search->low_prefix, span);
	step = (uint64_t)((unsigned __int128)part * width / span);
	return search->low + min_u64(step, width - 1);
}

static const struct entry *block_find(const struct table_block *block,
				      unsigned fill, const struct id *id)
{
	unsigned low = 0, high = fill;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = id_compare(id, &block->entries[middle].id);

		if (order == 0)
			return &block->entries[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static int entry_take(const struct table *table, uint64_t block,
		      const struct entry *entry, struct entry *out,
		      struct err *err)
{
	const char *wrong = table_entry_wrong(table, entry);

	if (wrong)
		return err_set(
			err, -EBADMSG,
			"table '%s': block %llu at offset %llu: an entry "
			"with %s",
			table->name, (unsigned long long)block,
			(unsigned long long)table_block_offset(block), wrong);
	*out = *entry;
	return 1;
}

int table_find(struct table *table, struct sealer *sealer, const struct id *id,
	       struct entry *out, struct err *err)
{
	uint64_t prefix = be64_get(id->b);
	uint64_t filter_blocks = table->sections[SECTION_FILTER].count;
	struct table_block block;
	struct search search;
	int r;

	if (table->filter &&
	    !filter_block_has(
		    &table->filter[filter_block_of(id, filter_blocks)], id))
		return 0;
	if (!search_begin(table, prefix, &search))
		return 0;
	while (search.low < search.high) {
		uint64_t guess = search_guess(&search, prefix);
		unsigned fill = table_block_fill(table, guess);
		const struct id *first = &block.entries[0].id;
		const struct id *last = &block.entries[fill - 1].id;
		const struct entry *found;

		r = block_get(table, sealer, guess, &block, err);
		if (r < 0)
			return r;
		if (id_compare(id, first) < 0) {
			search.high = guess;
			search.high_prefix = be64_get(first->b);
		} else if (id_compare(id, last) > 0) {
			search.low = guess + 1;
			search.low_prefix = be64_get(last->b);
		} else {
			found = block_find(&block, fill, id);
			return found ? entry_take(table, guess, found, out, err)
				     : 0;
		}
	}
	return 0;
}
