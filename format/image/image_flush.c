/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a layer becomes durable:
 *
 * - at once, when few blocks are new: a record with checks of them, sync;
 * - by the journal: sync, records of the entries that changed, sync;
 * - by the map, when the records would not fit or the journal shall be empty:
 *   sync, a superblock that allows the new cluster numbers, the changed map
 *   pages, sync, a superblock that says where the journal begins now.
 *
 * What is written is what stood in memory before the first sync, so nothing
 * is claimed whose data came later. The last record with checks depends on its
 * data until one more is durable: see fresh.c. A sync that failed may have lost what it
 * was told to keep, and no later one would say so: that layer is done for
 * until it is opened anew. A write that failed is tried again by the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "format/image/image_private.h"

unsigned image_sabotage;

struct page_copy {
	struct map_page *page;
	uint32_t number;
	uint64_t entries[PAGE_ENTRIES];
};

struct snapshot {
	struct map_item *items;
	size_t item_count;
	struct page_copy *pages; /* by the map only; NULL: there are none */
	size_t page_count, page_max;
	uint64_t *freed;
	size_t freed_count;
	uint64_t max_cluster;
	bool unsynced;
	bool confirm; /* the last record needs one behind it, or better has */
	size_t check_count; /* not 0: data and record in one sync */
	struct block_check checks[JOURNAL_CHECKS_MAX];
};

static void snapshot_release(struct snapshot *snapshot)
{
	free(snapshot->items);
	if (snapshot->pages)
		munmap(snapshot->pages,
		       snapshot->page_max * sizeof(*snapshot->pages));
	free(snapshot->freed);
}

static void take_items(struct layer *layer, struct snapshot *snapshot)
{
	struct map_page *page;

	while ((page = layer->first_unrecorded)) {
		uint64_t first = (uint64_t)page->number * PAGE_ENTRIES;

		for (unsigned i = 0; i < ARRAY_SIZE(page->unrecorded); i++) {
			uint64_t bits = page->unrecorded[i];

			for (; bits; bits &= bits - 1) {
				unsigned at = i * 64 +
					      (unsigned)__builtin_ctzll(bits);
				uint64_t entry = page->entries[at];

				snapshot->items[snapshot->item_count++] =
					(struct map_item){ first + at,
							   entry_mask(entry)
								   ? entry
								   : 0 };
			}
			page->unrecorded[i] = 0;
		}
		layer->first_unrecorded = page->next_unrecorded;
		page->next_unrecorded = NULL;
		page->unwritten = false;
	}
	layer->unrecorded_count = 0;
}

static void take_pages(struct layer *layer, struct snapshot *snapshot)
{
	struct map_page *page;

	while ((page = layer->first_dirty)) {
		struct page_copy *copy =
			&snapshot->pages[snapshot->page_count++];

		layer->first_dirty = page->next_dirty;
		page->next_dirty = NULL;
		page->dirty = false;
		layer->image->map.dirty--;
		page->pins++;
		copy->page = page;
		copy->number = page->number;
		memcpy(copy->entries, page->entries, sizeof(copy->entries));
	}
}

static size_t count_dirty(const struct layer *layer)
{
	size_t count = 0;

	for (struct map_page *page = layer->first_dirty; page;
	     page = page->next_dirty)
		count++;
	return count;
}

/* As much as half of the map's bound, so it goes back to the system: each
 * thread that ever made a checkpoint would keep it in its allocator's arena. */
static int map_pages(struct snapshot *snapshot, size_t count)
{
	void *pages;

	if (!count)
		return 0;
	pages = mmap(NULL, count * sizeof(*snapshot->pages),
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (pages == MAP_FAILED)
		return -ENOMEM;
	snapshot->pages = pages;
	snapshot->page_max = count;
	return 0;
}

/* By image->lock. Nothing has changed when it fails. */
static int snapshot_take(struct layer *layer, bool by_map,
			 struct snapshot *snapshot)
{
	size_t pages = by_map ? count_dirty(layer) : 0;

	snapshot->items =
		malloc((layer->unrecorded_count + 1) * sizeof(struct map_item));
	if (!snapshot->items || map_pages(snapshot, pages))
		return -ENOMEM;
	if (!by_map && fresh_may_check(layer))
		snapshot->check_count = fresh_take(layer, snapshot->checks);
	else
		fresh_take(layer, NULL);
	snapshot->confirm = fresh_has_bound(layer);
	take_items(layer, snapshot);
	if (by_map)
		take_pages(layer, snapshot);
	snapshot->freed = layer->freed;
	snapshot->freed_count = layer->freed_count;
	layer->freed = NULL;
	layer->freed_count = layer->freed_capacity = 0;
	snapshot->max_cluster = layer->max_cluster;
	snapshot->unsynced = layer->unsynced;
	layer->unsynced = false;
	return 0;
}

/* It came to nothing: all of it is still to be done. */
static void snapshot_return(struct layer *layer, struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->page_count; i++) {
		struct map_page *page = snapshot->pages[i].page;

		page->pins--;
		map_page_dirty(page);
	}
	for (size_t i = 0; i < snapshot->item_count; i++) {
		uint64_t unit = snapshot->items[i].unit;

		/* Dirty ones are never thrown out. */
		map_entry_changed(map_page_find(layer, page_of_unit(unit)),
				  (unsigned)(unit % PAGE_ENTRIES));
	}
	/* One that is forgotten for want of memory is lost, not reused. */
	for (size_t i = 0; i < snapshot->freed_count; i++)
		(void)layer_give_up(layer, snapshot->freed[i]);
	layer->unsynced |= snapshot->unsynced;
	fresh_untake(layer);
	fresh_unknown(layer);
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Nothing durable names them any more. They are zeros from here on. */
static void free_clusters(struct layer *layer, struct snapshot *snapshot)
{
	uint64_t *freed = snapshot->freed;
	size_t n = snapshot->freed_count;

	if (n)
		qsort(freed, n, sizeof(*freed), by_number);
	for (size_t i = 0, run; i < n; i += run) {
		int r;

		for (run = 1; i + run < n && freed[i + run] == freed[i] + run;)
			run++;
		r = layer_zero(layer, layer->file,
			       layer_cluster_at(&layer->super, freed[i]),
			       run * IMAGE_CLUSTER_SIZE);
		if (r < 0)
			continue;
		image_lock(layer->image);
		(void)layer_add_free(layer, freed[i], run);
		image_unlock(layer->image);
	}
}

static void snapshot_done(struct layer *layer, struct snapshot *snapshot)
{
	image_lock(layer->image);
	for (size_t i = 0; i < snapshot->page_count; i++)
		snapshot->pages[i].page->pins--;
	if (snapshot->page_count)
		layer->map_epoch++;
	fresh_recorded(layer);
	image_unlock(layer->image);
	free_clusters(layer, snapshot);
}

static int sync_layer(struct layer *layer, unsigned unless, struct err *err)
{
	struct vs_io *io = layer->image->io;
	int r = image_sabotage & unless ? 0
					: io->ops->sync_data(io, layer->file);

	if (r < 0) {
		layer->failed = true;
		return err_sys(err, r, "can't make layer '%s' durable",
			       layer->path);
	}
	return 0;
}

static int by_page(const void *a, const void *b)
{
	const struct page_copy *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int write_pages(struct layer *layer, struct snapshot *snapshot)
{
	struct vs_io *io = layer->image->io;
	struct map_sector sectors[PAGE_SECTORS];
	int r = 0;

	if (snapshot->page_count)
		qsort(snapshot->pages, snapshot->page_count,
		      sizeof(*snapshot->pages), by_page);
	for (size_t i = 0; !r && i < snapshot->page_count; i++) {
		const struct page_copy *copy = &snapshot->pages[i];
		uint64_t first = (uint64_t)copy->number * PAGE_SECTORS;
		uint64_t n = min_u64(PAGE_SECTORS, MAP_SECTORS - first);

		if (image_sabotage & SABOTAGE_STALE_PAGE && !i)
			continue;
		for (unsigned k = 0; k < PAGE_SECTORS; k++)
			map_sector_encode(copy->entries +
						  k * MAP_SECTOR_ENTRIES,
					  first + k, &sectors[k]);
		r = io_write_full(io, layer->file, sectors, n * MAP_SECTOR_SIZE,
				  layer->super.map_offset +
					  first * MAP_SECTOR_SIZE);
	}
	return r;
}

static int commit_by_map(struct layer *layer, struct snapshot *snapshot,
			 bool seal, struct err *err)
{
	struct layer_super next = layer->super;
	int r = 0;

	next.max_cluster =
		max_u64(layer->super.max_cluster, snapshot->max_cluster);
	if (next.max_cluster != layer->super.max_cluster)
		r = layer_super_write(layer, &next, err);
	if (!r) {
		r = write_pages(layer, snapshot);
		if (r < 0)
			err_sys(err, r, "can't write the map of layer '%s'",
				layer->path);
	}
	if (!r)
		r = sync_layer(layer, SABOTAGE_NO_DATA_SYNC, err);
	if (r < 0)
		return r;
	if (layer->journal_broken)
		layer->sequence += SEQUENCE_GAP;
	next = layer->super;
	next.sequence = layer->sequence;
	next.position = layer->position;
	next.sealed = seal;
	r = layer_super_write(layer, &next, err);
	if (!r)
		layer->journal_broken = false;
	return r;
}

static int journal_error(struct layer *layer, int r, struct err *err)
{
	return r < 0 ? err_sys(err, r, "can't write the journal of layer '%s'",
			       layer->path)
		     : 0;
}

static int commit_by_journal(struct layer *layer, struct snapshot *snapshot,
			     struct err *err)
{
	int r = 0;

	/* Nothing stands on the data, so what confirms goes along with it. */
	if (!snapshot->item_count && snapshot->confirm)
		r = journal_error(
			layer, journal_write(layer, snapshot->items, 0), err);
	if (!r)
		r = sync_layer(layer,
			       SABOTAGE_NO_DATA_SYNC | SABOTAGE_RECORD_FIRST,
			       err);
	if (r < 0 || !snapshot->item_count)
		return r;
	r = journal_error(
		layer,
		journal_write(layer, snapshot->items, snapshot->item_count),
		err);
	return r ? r : sync_layer(layer, SABOTAGE_NO_DATA_SYNC, err);
}

/* Nobody changes these blocks: they are bound from the snapshot on. */
static int make_checks(struct layer *layer, struct snapshot *snapshot)
{
	struct vs_io *io = layer->image->io;
	uint8_t data[IMAGE_BLOCK_SIZE];
	int r = 0;

	for (size_t i = 0; !r && i < snapshot->check_count; i++) {
		struct block_check *check = &snapshot->checks[i];

		r = io_read_full(io, layer->file, data, sizeof(data),
				 layer_block_at(&layer->super, check->block));
		check->sum = block_sum(data, check->block);
	}
	return r;
}

static int commit_at_once(struct layer *layer, struct snapshot *snapshot,
			  struct err *err)
{
	int r = journal_error(layer,
			      journal_write_checked(layer, snapshot->items,
						    snapshot->item_count,
						    snapshot->checks,
						    snapshot->check_count),
			      err);

	if (r < 0)
		return r;
	r = sync_layer(layer, SABOTAGE_NO_DATA_SYNC, err);
	if (r < 0)
		journal_unwrite_checked(layer);
	return r;
}

static int commit_snapshot(struct layer *layer, struct snapshot *snapshot,
			   bool by_map, bool seal, struct err *err)
{
	int r;

	if (by_map) {
		r = sync_layer(layer,
			       SABOTAGE_NO_DATA_SYNC | SABOTAGE_RECORD_FIRST,
			       err);
		return r ? r : commit_by_map(layer, snapshot, seal, err);
	}
	if (snapshot->check_count && !make_checks(layer, snapshot))
		return commit_at_once(layer, snapshot, err);
	if (snapshot->check_count) {
		image_lock(layer->image);
		fresh_untake(layer);
		image_unlock(layer->image);
	}
	return commit_by_journal(layer, snapshot, err);
}

/* By image->lock. */
static bool must_use_map(const struct layer *layer)
{
	return layer->journal_broken ||
	       journal_used(layer) + journal_need(layer->unrecorded_count) >=
		       layer->super.journal_length;
}

static bool has_nothing(const struct layer *layer, bool by_map)
{
	if (layer->unsynced || layer->unrecorded_count ||
	    (by_map && fresh_has_bound(layer)))
		return false;
	return !by_map || (!layer->first_dirty && !journal_used(layer) &&
			   !layer->journal_broken);
}

static int refuse_failed(const struct layer *layer, struct err *err)
{
	return layer->failed
		       ? err_set(err, -EIO,
				 "layer '%s': its disk failed to keep what was written; open the image anew",
				 layer->path)
		       : 0;
}

int layer_commit(struct layer *layer, bool checkpoint, bool seal,
		 struct err *err)
{
	struct image *image = layer->image;
	struct snapshot snapshot = { 0 };
	bool by_map;
	int r = refuse_failed(layer, err);

	if (r < 0)
		return r;
	image_lock(image);
	by_map = checkpoint || must_use_map(layer);
	if (!seal && has_nothing(layer, by_map)) {
		image_unlock(image);
		return 0;
	}
	r = snapshot_take(layer, by_map, &snapshot);
	image_unlock(image);
	if (r < 0) {
		err_set(err, r, "out of memory for a flush");
	} else {
		r = commit_snapshot(layer, &snapshot, by_map, seal, err);
		if (!r) {
			snapshot_done(layer, &snapshot);
		} else {
			image_lock(image);
			snapshot_return(layer, &snapshot);
			image_unlock(image);
		}
	}
	snapshot_release(&snapshot);
	return r;
}

static int confirm_by_journal(struct layer *layer)
{
	struct map_item none;
	int r = journal_write(layer, &none, 0);

	if (!r)
		r = sync_layer(layer, SABOTAGE_NO_DATA_SYNC, NULL);
	if (r < 0)
		return r;
	image_lock(layer->image);
	fresh_recorded(layer);
	image_unlock(layer->image);
	return 0;
}

int image_confirm(struct image *image, struct layer *layer)
{
	bool bound, by_map;
	int r;

	pthread_mutex_lock(&image->commit_lock);
	image_lock(image);
	bound = fresh_has_bound(layer);
	by_map = must_use_map(layer);
	image_unlock(image);
	r = bound ? refuse_failed(layer, NULL) : 0;
	if (bound && !r)
		r = by_map ? layer_commit(layer, true, false, NULL)
			   : confirm_by_journal(layer);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}

int image_write_head(struct image *image, struct head *next, struct err *err)
{
	int r = head_write(image->io, image->file, image->path, next, err);

	image->head_unsure = r < 0;
	if (!r)
		image->head = *next;
	return r;
}

int image_make_head_sure(struct image *image, struct err *err)
{
	struct head again = image->head;

	if (!image->head_unsure || image_sabotage & SABOTAGE_HEAD_UNSURE)
		return 0;
	return image_write_head(image, &again, err);
}

int image_commit(struct image *image, struct stack *stack, size_t count,
		 struct err *err)
{
	int r = image_make_head_sure(image, err);

	for (size_t i = 0; !r && i < count; i++) {
		struct layer *layer = stack->layers[i];

		if (!layer->sealed && !layer->broken)
			r = layer_commit(layer, false, false, err);
	}
	return r;
}

int image_checkpoint(struct image *image, struct err *err)
{
	struct stack *stack;
	int r = image_make_head_sure(image, err);

	image_lock(image);
	stack = stack_get(image->stack);
	image_unlock(image);
	for (size_t i = 0; !r && i < stack->count; i++) {
		struct layer *layer = stack->layers[i];

		if (!layer->sealed && !layer->broken)
			r = layer_commit(layer, true, false, err);
	}
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	return r;
}

static bool is_full(const struct image *image)
{
	return image->map.dirty >= image->map.dirty_limit ||
	       stack_top(image->stack)->freed_count >= FREED_MAX;
}

int image_make_room(struct image *image)
{
	bool full;
	int r = 0;

	image_lock(image);
	full = is_full(image);
	image_unlock(image);
	if (!full)
		return 0;
	pthread_mutex_lock(&image->commit_lock);
	image_lock(image);
	full = is_full(image);
	image_unlock(image);
	if (full)
		r = image_checkpoint(image, NULL);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}
