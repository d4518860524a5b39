/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The redo journal of a layer: a ring of records, read once at open, appended
 * to by a flush. A record that was begun and failed makes the ring unfit
 * (journal_broken) until a checkpoint has begun it anew with a sequence that
 * no old record can have: else what stands there might count one day.
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

struct replay {
	struct layer *layer;
	const uint8_t *ring;
	struct map_item *items; /* all so far */
	size_t count, capacity;
	uint64_t clusters; /* that the file has */
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

static void take_items(struct replay *replay, unsigned count)
{
	struct map_item *items = replay->items;
	struct layer *layer = replay->layer;
	size_t kept = replay->count;

	for (unsigned i = 0; i < count; i++) {
		struct map_item item = items[replay->count + i];

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

static int replay_ring(struct replay *replay)
{
	struct layer *layer = replay->layer;
	uint64_t length = layer->super.journal_length, seen = 0;
	unsigned count;
	int r;

	for (;;) {
		uint64_t left;
		size_t size;

		if (layer->position == length)
			layer->position = 0;
		left = min_u64(length - layer->position, length - seen);
		r = replay_room(replay, JOURNAL_ITEMS_MAX);
		if (r < 0)
			return r;
		size = journal_record_decode(
			replay->ring + layer->position, left, layer->super.id,
			layer->sequence, replay->items + replay->count, &count);
		if (!size)
			return 0;
		layer->sequence++;
		seen += count ? size : left;
		layer->position += count ? size : left;
		take_items(replay, count);
	}
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

/* So many items that the record ends at the ring's end at most. */
static unsigned items_before_end(uint64_t left, size_t count)
{
	uint64_t room = left - sizeof(struct journal_head) - sizeof(le64);

	room /= sizeof(struct journal_item);
	room = min_u64(room, JOURNAL_ITEMS_MAX);
	return (unsigned)min_u64(room, count);
}

int journal_write(struct layer *layer, const struct map_item *items,
		  size_t count)
{
	struct vs_io *io = layer->image->io;
	uint64_t length = layer->super.journal_length;
	uint64_t position = layer->position, sequence = layer->sequence;
	autofree uint8_t *record = NULL;
	int r;

	record = malloc(journal_record_size(
		(unsigned)min_u64(count, JOURNAL_ITEMS_MAX)));
	if (!record)
		return -ENOMEM;
	while (count) {
		unsigned n;

		if (position == length)
			position = 0;
		n = items_before_end(length - position, count);
		journal_record_encode(record, layer->super.id, sequence, items,
				      n);
		r = io_write_full(io, layer->file, record,
				  journal_record_size(n),
				  JOURNAL_OFFSET + position);
		if (r < 0) {
			layer->journal_broken = true;
			return r;
		}
		position += journal_record_size(n);
		sequence++;
		items += n;
		count -= n;
	}
	layer->position = position == length ? 0 : position;
	layer->sequence = sequence;
	return 0;
}
