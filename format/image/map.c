/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map in memory: pages of eight sectors, of all layers of an image in one
 * hash table, read when they are needed and thrown out by last use.
 *
 * A page that is not as in the file (dirty), or that a write under way will
 * change (pinned), stays. Of pages that the file does not have nothing is
 * read: a bitmap tells, made from the file's extents when a layer is opened.
 * Nothing here writes; image_flush.c does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

#define PAGES_OF(bytes) ((bytes) / sizeof(struct map_page))

int map_cache_init(struct map_cache *cache, size_t memory_bytes,
		   struct err *err)
{
	size_t max = PAGES_OF(memory_bytes ? memory_bytes : MAP_MEMORY_DEFAULT);
	size_t buckets = 64;
	int r;

	if (max < MAP_PAGES_MIN)
		max = MAP_PAGES_MIN;
	while (buckets < max)
		buckets *= 2;
	r = alloc_array(&cache->buckets, buckets, sizeof(void *), err);
	if (r < 0)
		return r;
	cache->bucket_count = buckets;
	cache->max = max;
	cache->dirty_limit = max / 2;
	return 0;
}

void map_cache_release(struct map_cache *cache)
{
	while (cache->newest) {
		struct map_page *page = cache->newest;

		cache->newest = page->older;
		free(page);
	}
	while (cache->unused) {
		struct map_page *page = cache->unused;

		cache->unused = page->older;
		free(page);
	}
	free(cache->buckets);
	memset(cache, 0, sizeof(*cache));
}

static struct map_page **bucket_of(const struct layer *layer, uint32_t page)
{
	const struct map_cache *cache = &layer->image->map;
	uint64_t key = layer->super.number * 0x9e3779b97f4a7c15ULL + page;

	key ^= key >> 32;
	return &cache->buckets[key & (cache->bucket_count - 1)];
}

static void unlink_use(struct map_cache *cache, struct map_page *page)
{
	if (page->newer)
		page->newer->older = page->older;
	else
		cache->newest = page->older;
	if (page->older)
		page->older->newer = page->newer;
	else
		cache->oldest = page->newer;
}

static void link_newest(struct map_cache *cache, struct map_page *page)
{
	page->newer = NULL;
	page->older = cache->newest;
	if (cache->newest)
		cache->newest->newer = page;
	else
		cache->oldest = page;
	cache->newest = page;
}

static void page_drop(struct map_page *page)
{
	struct map_cache *cache = &page->layer->image->map;
	struct map_page **at = bucket_of(page->layer, page->number);

	while (*at != page)
		at = &(*at)->hash_next;
	*at = page->hash_next;
	unlink_use(cache, page);
	cache->count--;
	page->older = cache->unused;
	cache->unused = page;
}

static bool may_evict(const struct map_page *page)
{
	return !page->pins && !page->dirty && !page->unwritten;
}

/* Down to the bound, or until only such are left that must stay. */
static void evict(struct map_cache *cache)
{
	struct map_page *page = cache->oldest;

	/* The dirty ones at the old end are moved out of the way. */
	for (size_t tries = 64; page && cache->count >= cache->max && tries;
	     tries--) {
		struct map_page *newer = page->newer;

		if (may_evict(page)) {
			page_drop(page);
		} else {
			unlink_use(cache, page);
			link_newest(cache, page);
		}
		page = newer;
	}
}

bool map_page_present(const struct layer *layer, uint32_t page)
{
	const uint64_t *chunk = layer->present[page / PRESENT_CHUNK];
	uint32_t bit = page % PRESENT_CHUNK;

	return chunk && chunk[bit / 64] >> bit % 64 & 1;
}

int map_page_set_present(struct layer *layer, uint32_t page)
{
	uint64_t **chunk = &layer->present[page / PRESENT_CHUNK];
	uint32_t bit = page % PRESENT_CHUNK;

	if (!*chunk)
		*chunk = calloc(PRESENT_CHUNK / 64, sizeof(uint64_t));
	if (!*chunk)
		return -ENOMEM;
	(*chunk)[bit / 64] |= 1ULL << bit % 64;
	return 0;
}

uint32_t map_next_present(const struct layer *layer, uint32_t page)
{
	while (page < PAGES_MAX) {
		const uint64_t *chunk = layer->present[page / PRESENT_CHUNK];
		uint32_t bit = page % PRESENT_CHUNK;
		uint64_t word;

		if (!chunk) {
			page += PRESENT_CHUNK - bit;
			continue;
		}
		word = chunk[bit / 64] >> bit % 64;
		if (word)
			return page + (uint32_t)__builtin_ctzll(word);
		page += 64 - bit % 64;
	}
	return PAGES_MAX;
}

struct map_page *map_page_find(struct layer *layer, uint32_t page)
{
	struct map_cache *cache = &layer->image->map;
	struct map_page *at = *bucket_of(layer, page);

	while (at && (at->layer != layer || at->number != page))
		at = at->hash_next;
	if (at && at != cache->newest) {
		unlink_use(cache, at);
		link_newest(cache, at);
	}
	return at;
}

/* Zeroed. Pages are kept for the next one: freed by one thread and allocated
 * by another they would spread over the allocator's arenas, past our bound. */
static struct map_page *page_new(struct map_cache *cache)
{
	struct map_page *page = cache->unused;

	if (!page)
		return calloc(1, sizeof(*page));
	cache->unused = page->older;
	memset(page, 0, sizeof(*page));
	return page;
}

static struct map_page *page_add(struct layer *layer, uint32_t number)
{
	struct map_cache *cache = &layer->image->map;
	struct map_page **bucket = bucket_of(layer, number);
	struct map_page *page;

	if (cache->count >= cache->max)
		evict(cache);
	page = page_new(cache);
	if (!page)
		return NULL;
	page->layer = layer;
	page->number = number;
	page->hash_next = *bucket;
	*bucket = page;
	link_newest(cache, page);
	cache->count++;
	return page;
}

struct map_page *map_page_get(struct layer *layer, uint32_t number, int *r)
{
	struct map_page *page = map_page_find(layer, number);

	*r = 0;
	if (page || map_page_present(layer, number))
		return page;
	*r = map_page_set_present(layer, number);
	if (*r < 0)
		return NULL;
	page = page_add(layer, number);
	if (!page)
		*r = -ENOMEM;
	return page;
}

void map_apply_replayed(const struct layer *layer, uint32_t page,
			uint64_t entries[PAGE_ENTRIES])
{
	uint64_t first = (uint64_t)page * PAGE_ENTRIES;
	size_t low = 0, high = layer->replayed_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (layer->replayed[middle].unit < first)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < layer->replayed_count &&
	       layer->replayed[low].unit < first + PAGE_ENTRIES;
	     low++)
		entries[layer->replayed[low].unit - first] =
			layer->replayed[low].entry;
}

static uint8_t page_decode(uint32_t number, const uint8_t *data,
			   uint64_t *entries)
{
	uint8_t bad = 0;

	for (unsigned i = 0; i < PAGE_SECTORS; i++) {
		struct map_sector sector;

		memcpy(&sector, data + i * sizeof(sector), sizeof(sector));
		if (!map_sector_decode(&sector,
				       (uint64_t)number * PAGE_SECTORS + i,
				       IMAGE_CLUSTERS_MAX,
				       entries + i * MAP_SECTOR_ENTRIES))
			bad |= (uint8_t)(1u << i);
	}
	return bad;
}

static void report_bad(struct layer *layer, uint32_t number, uint8_t bad)
{
	char what[160];

	for (unsigned i = 0; i < PAGE_SECTORS; i++) {
		uint64_t sector = (uint64_t)number * PAGE_SECTORS + i;

		if (!(bad >> i & 1))
			continue;
		snprintf(what, sizeof(what),
			 "layer %llu: map sector %llu is damaged",
			 (unsigned long long)layer->super.number,
			 (unsigned long long)sector);
		image_damage(layer->image,
			     sector * MAP_SECTOR_ENTRIES * IMAGE_CLUSTER_SIZE,
			     MAP_SECTOR_ENTRIES * IMAGE_CLUSTER_SIZE, what);
	}
}

/* The file's bytes of a page; the lock is not held. */
static int page_read(struct layer *layer, int file, uint32_t number,
		     uint8_t data[PAGE_BYTES])
{
	uint64_t at = (uint64_t)number * PAGE_BYTES;
	size_t size =
		(size_t)min_u64(PAGE_BYTES, MAP_SECTORS * MAP_SECTOR_SIZE - at);
	int r;

	memset(data, 0, PAGE_BYTES);
	r = io_read_full(layer->image->io, file, data, size,
			 layer->super.map_offset + at);
	/* The file ends within its map: nothing was written there. */
	return r == -ENODATA ? 0 : r;
}

int map_page_load(struct layer *layer, uint32_t number)
{
	struct image *image = layer->image;
	uint8_t data[PAGE_BYTES];
	uint64_t entries[PAGE_ENTRIES];
	struct map_page *page;
	uint64_t epoch;
	uint8_t bad;
	int r, file;

	do {
		if (map_page_find(layer, number))
			return 0;
		epoch = layer->map_epoch;
		file = layer_use(layer);
		if (file < 0)
			return file;
		image_unlock(image);
		r = page_read(layer, file, number, data);
		bad = r ? 0 : page_decode(number, data, entries);
		image_lock(image);
		layer_unuse(layer);
		if (r < 0)
			return r;
	} while (epoch != layer->map_epoch);
	if (map_page_find(layer, number))
		return 0;
	page = page_add(layer, number);
	if (!page)
		return -ENOMEM;
	memcpy(page->entries, entries, sizeof(entries));
	page->bad = bad;
	map_apply_replayed(layer, number, page->entries);
	if (bad) {
		page->pins++;
		image_unlock(image);
		report_bad(layer, number, bad);
		image_lock(image);
		page->pins--;
	}
	return 0;
}

int map_page_need(struct layer *layer, uint32_t number, struct map_page **out)
{
	int r;

	for (;;) {
		*out = map_page_get(layer, number, &r);
		if (*out || r < 0)
			return r;
		r = map_page_load(layer, number);
		if (r < 0)
			return r;
	}
}

void map_page_dirty(struct map_page *page)
{
	if (page->dirty)
		return;
	page->dirty = true;
	page->next_dirty = page->layer->first_dirty;
	page->layer->first_dirty = page;
	page->layer->image->map.dirty++;
}

void map_entry_changed(struct map_page *page, unsigned index)
{
	struct layer *layer = page->layer;
	uint64_t bit = 1ULL << index % 64;

	map_page_dirty(page);
	if (page->unrecorded[index / 64] & bit)
		return;
	page->unrecorded[index / 64] |= bit;
	layer->unrecorded_count++;
	if (!page->unwritten) {
		page->unwritten = true;
		page->next_unrecorded = layer->first_unrecorded;
		layer->first_unrecorded = page;
	}
}

void map_drop_layer(struct layer *layer)
{
	struct map_cache *cache = &layer->image->map;
	struct map_page *page = cache->newest;

	while (page) {
		struct map_page *older = page->older;

		if (page->layer == layer) {
			if (page->dirty)
				cache->dirty--;
			page_drop(page);
		}
		page = older;
	}
}

int map_lookup(struct layer *layer, uint64_t unit, uint64_t *entry)
{
	uint32_t number = page_of_unit(unit);
	unsigned index = (unsigned)(unit % PAGE_ENTRIES);
	struct map_page *page;

	if (layer->broken)
		return -EIO;
	if (!map_page_present(layer, number)) {
		*entry = 0;
		return 0;
	}
	page = map_page_find(layer, number);
	if (!page)
		return 1;
	if (page->bad >> index / MAP_SECTOR_ENTRIES & 1)
		return -EIO;
	if (entry_cluster(page->entries[index]) > layer->max_cluster)
		return -EIO;
	*entry = page->entries[index];
	return 0;
}
