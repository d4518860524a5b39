/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal as Linux' jbd2 writes it (Documentation/filesystems/ext4/
 * journal.rst), big-endian: a transaction is descriptor blocks, each with the
 * blocks behind it that it names, revoke blocks, and a commit. One without its
 * commit did not happen, and ends the log. A revoke takes back what this
 * transaction and those before it have of a block.
 *
 * Checksums are looked at where the log has them; a wrong one ends it, as a
 * missing commit does. Fast commits are passed over.
 */
#include "kvm-agent/boot/disk_journal.h"

#include <errno.h>
#include <string.h>

#include <ext2fs/ext2fs.h>

#define DESCRIPTOR      1u
#define COMMIT          2u
#define SUPER_V2        4u
#define REVOKE          5u

#define FEATURE_64BIT   2u
#define FEATURE_CSUM_V2 8u
#define FEATURE_CSUM_V3 16u
#define FEATURE_FAST    32u
#define FEATURES_KNOWN  63u
#define FAST_DEFAULT    256u

#define TAG_ESCAPED     1u
#define TAG_SAME_UUID   2u
#define TAG_LAST        8u

#define HEADER_BYTES    12u
#define UUID_BYTES      16u
#define TAIL_BYTES      4u
#define COMMIT_CSUM_AT  16u
#define MAP_SMALLEST    64u

struct log {
	struct journal_source *source;
	struct journal_map *map;
	uint32_t features;
	uint32_t seed;        /* of its checksums */
	uint64_t first, last; /* its blocks: [first, last) */
	uint64_t at;
	uint64_t left; /* blocks that the log may still have */
	uint32_t sequence;
	uint8_t *block, *data; /* a descriptor's, and one that it names */
	/* Of this transaction, so far. */
	struct journal_entry *tags;
	size_t tag_count, tag_capacity;
	uint64_t *revoked;
	size_t revoked_count, revoked_capacity;
};

static uint32_t be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static uint32_t be16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* ---- the map ---- */

static struct journal_entry *slot_of(const struct journal_map *map,
				     uint64_t block)
{
	size_t i = (size_t)(block * 0x9e3779b97f4a7c15ull >> 20) &
		   (map->capacity - 1);

	while (map->entries[i].block && map->entries[i].block != block + 1)
		i = (i + 1) & (map->capacity - 1);
	return &map->entries[i];
}

const struct journal_entry *journal_find(const struct journal_map *map,
					 uint64_t block)
{
	const struct journal_entry *entry;

	if (!map->used)
		return NULL;
	entry = slot_of(map, block);
	return entry->block && entry->place ? entry : NULL;
}

void journal_map_release(struct journal_map *map)
{
	free(map->entries);
	*map = (struct journal_map){ 0 };
}

static int grow_map(struct journal_map *map)
{
	struct journal_map larger = { .capacity = map->capacity
							  ? 2 * map->capacity
							  : MAP_SMALLEST };

	larger.entries = calloc(larger.capacity, sizeof(*larger.entries));
	if (!larger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < map->capacity; i++) {
		if (!map->entries[i].block)
			continue;
		*slot_of(&larger, map->entries[i].block - 1) = map->entries[i];
		larger.used++;
	}
	free(map->entries);
	*map = larger;
	return 0;
}

static int put_entry(struct journal_map *map, const struct journal_entry *entry)
{
	struct journal_entry *slot;
	int r = 2 * (map->used + 1) > map->capacity ? grow_map(map) : 0;

	if (r < 0)
		return r;
	slot = slot_of(map, entry->block - 1);
	if (!slot->block)
		map->used++;
	*slot = *entry;
	return 0;
}

/* ---- the log ---- */

/* The next block into log->block. 1: the log ends here. */
static int read_next(struct log *log)
{
	if (!log->left)
		return 1;
	log->left--;
	return log->source->read(log->source, log->at, log->block);
}

static void step(struct log *log)
{
	if (++log->at == log->last)
		log->at = log->first;
}

static bool has_checksums(const struct log *log)
{
	return log->features & (FEATURE_CSUM_V2 | FEATURE_CSUM_V3);
}

/* The sum that stands at `at` is of the block with zeros in its place. */
static bool sum_is_right(const struct log *log, size_t at)
{
	uint32_t told = be32(log->block + at), sum;

	memset(log->block + at, 0, TAIL_BYTES);
	sum = ext2fs_crc32c_le(log->seed, log->block, log->source->block_size);
	return sum == told;
}

/* What a block that has a tail can hold. */
static size_t room_of(const struct log *log)
{
	return log->source->block_size - (has_checksums(log) ? TAIL_BYTES : 0);
}

static int grow(void *array, size_t *capacity, size_t size)
{
	size_t more = *capacity ? 2 * *capacity : 64;
	void *moved = reallocarray(*(void **)array, more, size);

	if (!moved)
		return -ENOMEM;
	*(void **)array = moved;
	*capacity = more;
	return 0;
}

/* ---- its blocks ---- */

struct tag {
	uint64_t block;
	uint32_t flags;
	uint32_t sum;
	size_t size; /* of it in the descriptor */
};

static size_t tag_bytes(const struct log *log)
{
	size_t size = log->features & FEATURE_64BIT ? 12 : 8;

	if (log->features & FEATURE_CSUM_V3)
		return 16;
	return log->features & FEATURE_CSUM_V2 ? size + 2 : size;
}

/* False: it does not fit. */
static bool take_tag(const struct log *log, size_t at, struct tag *tag)
{
	const uint8_t *bytes = log->block + at;
	size_t size = tag_bytes(log);

	if (at + size > room_of(log))
		return false;
	tag->block = be32(bytes);
	if (log->features & FEATURE_CSUM_V3) {
		tag->flags = be32(bytes + 4);
		tag->sum = be32(bytes + 12);
	} else {
		tag->flags = be16(bytes + 6);
		tag->sum = be16(bytes + 4);
	}
	if (log->features & FEATURE_64BIT)
		tag->block |= (uint64_t)be32(bytes + 8) << 32;
	tag->size = size + (tag->flags & TAG_SAME_UUID ? 0 : UUID_BYTES);
	return true;
}

/* 1: it is not the block that was written there. */
static int check_data(const struct log *log, const struct tag *tag)
{
	uint8_t sequence[4] = { (uint8_t)(log->sequence >> 24),
				(uint8_t)(log->sequence >> 16),
				(uint8_t)(log->sequence >> 8),
				(uint8_t)log->sequence };
	uint32_t sum;
	int r;

	if (!has_checksums(log))
		return 0;
	r = log->source->read(log->source, log->at, log->data);
	if (r < 0)
		return r;
	sum = ext2fs_crc32c_le(log->seed, sequence, sizeof(sequence));
	sum = ext2fs_crc32c_le(sum, log->data, log->source->block_size);
	if (!(log->features & FEATURE_CSUM_V3))
		sum &= 0xffff;
	return sum != tag->sum;
}

static int add_tag(struct log *log, const struct tag *tag)
{
	struct journal_entry entry = { .block = tag->block + 1,
				       .escaped = tag->flags & TAG_ESCAPED };
	int r;

	if (tag->block >= log->source->system_blocks ||
	    !log->source->place(log->source, log->at, &entry.place) ||
	    !entry.place)
		return -EBADMSG;
	if (log->tag_count == log->tag_capacity) {
		r = grow(&log->tags, &log->tag_capacity, sizeof(*log->tags));
		if (r < 0)
			return r;
	}
	log->tags[log->tag_count++] = entry;
	return 0;
}

/* Its blocks stand behind it. 1: the log ends, as one of them is no more. */
static int take_descriptor(struct log *log)
{
	size_t at = HEADER_BYTES;
	struct tag tag;

	if (has_checksums(log) && !sum_is_right(log, room_of(log)))
		return 1;
	do {
		int r;

		if (!take_tag(log, at, &tag) || !log->left)
			return 1;
		r = add_tag(log, &tag);
		if (r == 0)
			r = check_data(log, &tag);
		if (r)
			return r;
		log->left--;
		step(log);
		at += tag.size;
	} while (!(tag.flags & TAG_LAST));
	return 0;
}

static int take_revoke(struct log *log)
{
	size_t size = log->features & FEATURE_64BIT ? 8 : 4;
	size_t end = be32(log->block + HEADER_BYTES);

	if (end > room_of(log) ||
	    (has_checksums(log) && !sum_is_right(log, room_of(log))))
		return 1;
	for (size_t at = HEADER_BYTES + 4; at + size <= end; at += size) {
		uint64_t block = be32(log->block + at);

		if (size == 8)
			block = block << 32 | be32(log->block + at + 4);
		if (log->revoked_count == log->revoked_capacity &&
		    grow(&log->revoked, &log->revoked_capacity,
			 sizeof(*log->revoked)) < 0)
			return -ENOMEM;
		log->revoked[log->revoked_count++] = block;
	}
	return 0;
}

static int take_commit(struct log *log)
{
	int r = 0;

	if (has_checksums(log) && !sum_is_right(log, COMMIT_CSUM_AT))
		return 1;
	for (size_t i = 0; r == 0 && i < log->tag_count; i++)
		r = put_entry(log->map, &log->tags[i]);
	for (size_t i = 0; r == 0 && log->map->used && i < log->revoked_count;
	     i++)
		slot_of(log->map, log->revoked[i])->place = 0;
	log->tag_count = log->revoked_count = 0;
	log->sequence++;
	return r;
}

/* 1: the log ends in front of this block. */
static int take_block(struct log *log)
{
	int r = read_next(log);

	if (r)
		return r;
	if (be32(log->block) != JOURNAL_MAGIC ||
	    be32(log->block + 8) != log->sequence)
		return 1;
	step(log);
	switch (be32(log->block + 4)) {
	case DESCRIPTOR:
		return take_descriptor(log);
	case COMMIT:
		return take_commit(log);
	case REVOKE:
		return take_revoke(log);
	default:
		return 1;
	}
}

/* They have the log's end. */
static uint64_t fast_commit_blocks(const struct log *log)
{
	uint32_t told = be32(log->block + 84);

	if (!(log->features & FEATURE_FAST))
		return 0;
	return told ? told : FAST_DEFAULT;
}

/* 1: there is nothing in it. */
static int begin(struct log *log)
{
	const struct journal_source *source = log->source;
	const uint8_t *super = log->block;
	uint64_t length;
	int r = log->source->read(log->source, 0, log->block);

	if (r < 0)
		return r;
	if (be32(super) != JOURNAL_MAGIC || be32(super + 4) != SUPER_V2)
		return be32(super) == JOURNAL_MAGIC ? -EOPNOTSUPP : -EBADMSG;
	log->features = be32(super + 40);
	if (log->features & ~FEATURES_KNOWN)
		return -EOPNOTSUPP;
	length = be32(super + 16);
	log->first = be32(super + 20);
	log->sequence = be32(super + 24);
	log->at = be32(super + 28);
	log->last = length - fast_commit_blocks(log);
	if (!log->at)
		return 1;
	if (be32(super + 12) != source->block_size || length > source->blocks ||
	    length > JOURNAL_BLOCKS_MAX || log->last > length || !log->first ||
	    log->first >= log->last || log->at < log->first ||
	    log->at >= log->last)
		return -EBADMSG;
	log->left = log->last - log->first;
	log->seed = ext2fs_crc32c_le(~0u, super + 48, UUID_BYTES);
	return 0;
}

int journal_read(struct journal_map *out, struct journal_source *source)
{
	struct journal_map map = { 0 };
	struct log log = { .source = source, .map = &map };
	int r;

	log.block = malloc(2 * (size_t)source->block_size);
	if (!log.block)
		return -ENOMEM;
	log.data = log.block + source->block_size;
	r = begin(&log);
	while (r == 0)
		r = take_block(&log);
	free(log.block);
	free(log.tags);
	free(log.revoked);
	if (r < 0) {
		journal_map_release(&map);
		return r;
	}
	*out = map;
	return 0;
}
