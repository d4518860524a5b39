/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The redo journal of a layer: a ring of records, read once at open, appended
 * to by a flush. A record that was begun and failed makes the ring unfit
 * (journal_broken) until a checkpoint has begun it anew with a sequence that
 * no old record can have: else what stands there might count one day.
 *
 * A record with checks went to the disk in one sync with its data. While it is
 * the last one only the data itself can tell whether that came to its end; a
 * record behind it was written after the sync, and answers for it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

/* Merge [at, at + n) and [at + n, at + m), equal ones in order. */
static void merge(struct map_item *to, const struct map_item *at, size_t n,
		  size_t m)
{
	size_t i = 0, j = n;

	for (size_t k = 0; k < m; k++) {
		if (i < n && (j >= m || at[i].unit <= at[j].unit))
			to[k] = at[i++];
		else
			to[k] = at[j++];
	}
}

/* By unit, the last of each unit. */
static int sort_items(struct map_item **items, size_t *count)
{
	size_t n = *count, kept = 0;
	struct map_item *from = *items;
	struct map_item *to;

	if (!n)
		return 0;
	to = malloc(n * sizeof(*to));
	if (!to)
		return -ENOMEM;
	for (size_t width = 1; width < n; width *= 2) {
		struct map_item *swap = from;

		for (size_t at = 0; at < n; at += 2 * width)
			merge(to + at, from + at,
			      (size_t)min_u64(width, n - at),
			      (size_t)min_u64(2 * width, n - at));
		from = to;
		to = swap;
	}
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && from[i + 1].unit == from[i].unit)
			continue;
		from[kept++] = from[i];
	}
	free(to);
	*items = from;
	*count = kept;
	return 0;
}

/* The last record, while it counts only if its data is there. */
struct held {
	uint64_t position, sequence;
	unsigned item_count, check_count; /* no checks: there is none */
	struct block_check checks[JOURNAL_CHECKS_MAX];
};

struct replay {
	struct layer *layer;
	const uint8_t *ring;
	struct map_item *items; /* all so far, and then those held */
	size_t count, capacity;
	uint64_t clusters; /* that the file has */
	struct held held;
};

static int replay_room(struct replay *replay, size_t more)
{
	size_t capacity = replay->capacity;
	struct map_item *grown;

	if (replay->count + more <= capacity)
		return 0;
	capacity = 2 * capacity + more;
	grown = realloc(replay->items, capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	replay->items = grown;
	replay->capacity = capacity;
	return 0;
}

/* An item with a right checksum that can't be: its unit can't be read. */
static void bad_item(struct replay *replay, struct map_item *item)
{
	char what[96];

	snprintf(what, sizeof(what),
		 "layer %llu: its journal says what can't be",
		 (unsigned long long)replay->layer->super.number);
	if (item->unit >= IMAGE_UNITS_MAX) {
		image_damage(replay->layer->image, 0, 0, what);
		return;
	}
	item->entry = UINT64_MAX;
	image_damage(replay->layer->image, item->unit * IMAGE_CLUSTER_SIZE,
		     IMAGE_CLUSTER_SIZE, what);
}

/* `count` items from `from` on, which is not before those that are taken. */
static void take_items(struct replay *replay, size_t from, unsigned count)
{
	struct map_item *items = replay->items;
	struct layer *layer = replay->layer;
	size_t kept = replay->count;

	for (unsigned i = 0; i < count; i++) {
		struct map_item item = items[from + i];

		if (item.unit >= IMAGE_UNITS_MAX ||
		    !entry_is_valid(item.entry, replay->clusters))
			bad_item(replay, &item);
		else
			layer->max_cluster = max_u64(layer->max_cluster,
						     entry_cluster(item.entry));
		if (item.unit < IMAGE_UNITS_MAX)
			items[kept++] = item;
	}
	replay->count = kept;
}

/* Its data can't be read, so whether it was written can't be told. */
static void unreadable_block(struct replay *replay, uint64_t block)
{
	struct map_item *items = replay->items + replay->count;
	char what[96];

	snprintf(what, sizeof(what),
		 "layer %llu: a block of its last record can't be read",
		 (unsigned long long)replay->layer->super.number);
	for (unsigned i = 0; i < replay->held.item_count; i++) {
		if (entry_cluster(items[i].entry) != block / BLOCKS_PER_UNIT ||
		    items[i].unit >= IMAGE_UNITS_MAX)
			continue;
		image_damage(replay->layer->image,
			     items[i].unit * IMAGE_CLUSTER_SIZE,
			     IMAGE_CLUSTER_SIZE, what);
	}
}

static bool block_is_there(struct replay *replay,
			   const struct block_check *check)
{
	struct layer *layer = replay->layer;
	struct vs_io *io = layer->image->io;
	uint8_t data[IMAGE_BLOCK_SIZE];
	uint64_t cluster = check->block / BLOCKS_PER_UNIT;
	int r;

	if (!cluster || cluster > replay->clusters)
		return false;
	r = io_read_full(io, layer->file, data, sizeof(data),
			 layer_block_at(&layer->super, check->block));
	if (r < 0 && r != -ENODATA) {
		unreadable_block(replay, check->block);
		return true;
	}
	return !r && block_sum(data, check->block) == check->sum;
}

/* Is all there that was made durable together with the held record? */
static bool held_is_durable(struct replay *replay)
{
	const struct map_item *items = replay->items + replay->count;
	const struct held *held = &replay->held;

	if (image_sabotage & SABOTAGE_NO_CHECK)
		return true;
	/* The file's size goes the same way as the data. */
	for (unsigned i = 0; i < held->item_count; i++) {
		if (entry_cluster(items[i].entry) > replay->clusters)
			return false;
	}
	for (unsigned i = 0; i < held->check_count; i++) {
		if (!block_is_there(replay, &held->checks[i]))
			return false;
	}
	return true;
}

static void take_held(struct replay *replay)
{
	if (replay->held.check_count)
		take_items(replay, replay->count, replay->held.item_count);
	replay->held.check_count = replay->held.item_count = 0;
}

/* Nothing stands behind it: by its data it counts, or the journal ends before
 * it. */
static void settle_held(struct replay *replay)
{
	struct held *held = &replay->held;

	if (!held->check_count)
		return;
	if (held_is_durable(replay)) {
		take_held(replay);
	} else {
		replay->layer->position = held->position;
		replay->layer->sequence = held->sequence;
	}
}

/* A record was written once the one before it was durable. */
static void take_record(struct replay *replay,
			const struct journal_record *record)
{
	size_t from = replay->count + replay->held.item_count;
	struct held *held = &replay->held;

	take_held(replay);
	if (!record->check_count) {
		take_items(replay, from, record->item_count);
		return;
	}
	memmove(replay->items + replay->count, replay->items + from,
		record->item_count * sizeof(*record->items));
	held->position = replay->layer->position;
	held->sequence = record->sequence;
	held->item_count = record->item_count;
	held->check_count = record->check_count;
	memcpy(held->checks, record->checks,
	       record->check_count * sizeof(*record->checks));
}

static int replay_ring(struct replay *replay)
{
	struct layer *layer = replay->layer;
	uint64_t length = layer->super.journal_length, seen = 0;
	struct block_check checks[JOURNAL_CHECKS_MAX];

	for (;;) {
		struct journal_record record = { .sequence = layer->sequence,
						 .checks = checks };
		size_t taken = replay->count + replay->held.item_count;
		size_t size;
		int r;

		if (layer->position == length)
			layer->position = 0;
		r = replay_room(replay,
				taken - replay->count + JOURNAL_ITEMS_MAX);
		if (r < 0)
			return r;
		record.items = replay->items + taken;
		size = journal_record_decode(
			replay->ring + layer->position,
			min_u64(length - layer->position, length - seen),
			layer->super.id, &record);
		if (!size)
			break;
		take_record(replay, &record);
		layer->sequence++;
		layer->position += size;
		seen += size;
	}
	settle_held(replay);
	return 0;
}

int journal_replay(struct layer *layer, struct err *err)
{
	struct vs_io *io = layer->image->io;
	struct replay replay = { .layer = layer };
	autofree uint8_t *ring = NULL;
	uint64_t length = layer->super.journal_length;
	int r = alloc_array(&ring, 1, length, err);

	if (r < 0)
		return r;
	if (layer->file_end > layer->super.clusters_offset)
		replay.clusters =
			(layer->file_end - layer->super.clusters_offset) /
			IMAGE_CLUSTER_SIZE;
	replay.ring = ring;
	r = io_read_full(io, layer->file, ring, length, JOURNAL_OFFSET);
	if (r < 0 && r != -ENODATA)
		return err_sys(err, r, "can't read the journal of '%s'",
			       layer->path);
	r = replay_ring(&replay);
	if (!r)
		r = sort_items(&replay.items, &replay.count);
	for (size_t i = 0; !r && i < replay.count; i++)
		r = map_page_set_present(layer,
					 page_of_unit(replay.items[i].unit));
	if (r < 0) {
		free(replay.items);
		return err_set(err, r, "out of memory for the journal of '%s'",
			       layer->path);
	}
	layer->replayed = replay.items;
	layer->replayed_count = replay.count;
	return 0;
}

uint64_t journal_need(size_t items)
{
	return items * sizeof(struct journal_item) +
	       (items / JOURNAL_ITEMS_MAX + 2) * 2 * JOURNAL_RECORD_UNIT;
}

uint64_t journal_used(const struct layer *layer)
{
	uint64_t length = layer->super.journal_length;

	return (layer->position + length - layer->super.position) % length;
}

bool journal_fits(const struct layer *layer, size_t items, size_t checks)
{
	uint64_t length = layer->super.journal_length;
	uint64_t position = layer->position == length ? 0 : layer->position;

	return items <= JOURNAL_ITEMS_MAX && checks <= JOURNAL_CHECKS_MAX &&
	       journal_record_size((unsigned)items, (unsigned)checks) <=
		       length - position;
}

/* So many items that the record ends at the ring's end at most. */
static unsigned items_before_end(uint64_t left, size_t count)
{
	uint64_t room = left - sizeof(struct journal_head) - sizeof(le64);

	room /= sizeof(struct journal_item);
	room = min_u64(room, JOURNAL_ITEMS_MAX);
	return (unsigned)min_u64(room, count);
}

static int write_record(struct layer *layer, uint64_t position,
			const struct journal_record *record)
{
	struct vs_io *io = layer->image->io;
	size_t size =
		journal_record_size(record->item_count, record->check_count);
	autofree uint8_t *bytes = malloc(size);
	int r;

	if (!bytes)
		return -ENOMEM;
	journal_record_encode(bytes, layer->super.id, record);
	r = io_write_full(io, layer->file, bytes, size,
			  JOURNAL_OFFSET + position);
	if (r < 0)
		layer->journal_broken = true;
	return r;
}

int journal_write(struct layer *layer, struct map_item *items, size_t count)
{
	uint64_t length = layer->super.journal_length;
	uint64_t position = layer->position;
	struct journal_record record = { .sequence = layer->sequence,
					 .items = items };
	int r;

	do {
		if (position == length)
			position = 0;
		record.item_count = items_before_end(length - position, count);
		r = write_record(layer, position, &record);
		if (r < 0)
			return r;
		position += journal_record_size(record.item_count, 0);
		record.sequence++;
		record.items += record.item_count;
		count -= record.item_count;
	} while (count);
	layer->position = position;
	layer->sequence = record.sequence;
	return 0;
}

int journal_write_checked(struct layer *layer, struct map_item *items,
			  size_t count, struct block_check *checks,
			  size_t check_count)
{
	uint64_t length = layer->super.journal_length;
	uint64_t position = layer->position == length ? 0 : layer->position;
	struct journal_record record = { .sequence = layer->sequence,
					 .items = items,
					 .item_count = (unsigned)count,
					 .checks = checks,
					 .check_count = (unsigned)check_count };
	int r = write_record(layer, position, &record);

	if (r < 0)
		return r;
	layer->checked_at = position;
	layer->position = position + journal_record_size(record.item_count,
							 record.check_count);
	layer->sequence++;
	return 0;
}

void journal_unwrite_checked(struct layer *layer)
{
	static const uint8_t zeros[JOURNAL_RECORD_UNIT];

	(void)io_write_full(layer->image->io, layer->file, zeros, sizeof(zeros),
			    JOURNAL_OFFSET + layer->checked_at);
	layer->journal_broken = true;
}
