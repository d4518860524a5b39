/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of claimed and new chunks. An id goes in when it is claimed, gets
 * its place when its pack is durable, and leaves when a table names it; so
 * the size is bounded by how much may wait for a flush, and by what the
 * packs being written hold.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

#define CAPACITY_MIN 1024u

static struct entry *pending_slot(const struct pending *pending,
				  const struct id *id)
{
	uint64_t at;

	memcpy(&at, id->b + 16, sizeof(at));
	for (at &= pending->capacity - 1;;
	     at = (at + 1) & (pending->capacity - 1))
		if (id_is_null(&pending->slots[at].id) ||
		    id_equal(&pending->slots[at].id, id))
			return &pending->slots[at];
}

struct entry *pending_find(struct pending *pending, const struct id *id)
{
	struct entry *slot;

	if (!pending->used)
		return NULL;
	slot = pending_slot(pending, id);
	return id_is_null(&slot->id) ? NULL : slot;
}

/* At most two thirds full, so that a probe stays short. */
static size_t capacity_for(size_t used)
{
	size_t capacity = CAPACITY_MIN;

	while (used > capacity / 3 * 2)
		capacity *= 2;
	return capacity;
}

int pending_reserve(struct pending *pending, size_t more, struct err *err)
{
	size_t capacity = capacity_for(pending->used + more);
	struct pending larger = *pending;
	size_t n;
	int r;

	if (capacity <= pending->capacity)
		return 0;
	larger.capacity = capacity;
	larger.slots = NULL;
	r = alloc_array(&larger.slots, capacity, sizeof(struct entry), err);
	if (r < 0)
		return r;
	for (n = 0; n < pending->capacity; n++)
		if (!id_is_null(&pending->slots[n].id))
			*pending_slot(&larger, &pending->slots[n].id) =
				pending->slots[n];
	free(pending->slots);
	*pending = larger;
	return 0;
}

struct entry *pending_insert(struct pending *pending, const struct id *id)
{
	struct entry *slot = pending_slot(pending, id);

	assert(id_is_null(&slot->id) && pending->used < pending->capacity);
	slot->id = *id;
	slot->pack = le32_make(PENDING_CLAIMED);
	pending->used++;
	return slot;
}

static bool stays(const struct entry *entry, size_t packs)
{
	uint32_t number = le32_get(entry->pack);

	return !id_is_null(&entry->id) &&
	       (number == PENDING_CLAIMED || number >= packs);
}

int pending_drop(struct pending *pending, size_t packs, struct err *err)
{
	struct pending smaller = { 0 };
	size_t n, left = 0;
	int r;

	for (n = 0; n < pending->capacity; n++)
		left += stays(&pending->slots[n], packs);
	r = pending_reserve(&smaller, left, err);
	if (r < 0)
		return r;
	r = bytes_append(
		&smaller.packs,
		pending->packs.data + packs * sizeof(struct table_pack),
		pending->packs.size - packs * sizeof(struct table_pack), err);
	if (r < 0) {
		pending_release(&smaller);
		return r;
	}
	for (n = 0; n < pending->capacity; n++) {
		const struct entry *from = &pending->slots[n];
		uint32_t number = le32_get(from->pack);
		struct entry *to;

		if (!stays(from, packs))
			continue;
		to = pending_insert(&smaller, &from->id);
		*to = *from;
		if (number == PENDING_CLAIMED)
			continue;
		to->pack = le32_make(number - (uint32_t)packs);
		smaller.added++;
	}
	pending_release(pending);
	*pending = smaller;
	return 0;
}

int pending_drop_claims(struct pending *pending, struct err *err)
{
	struct pending kept = { 0 };
	size_t n;
	int r = pending_reserve(&kept, pending->added, err);

	if (r < 0)
		return r;
	for (n = 0; n < pending->capacity; n++) {
		const struct entry *from = &pending->slots[n];

		if (!id_is_null(&from->id) &&
		    le32_get(from->pack) != PENDING_CLAIMED)
			*pending_insert(&kept, &from->id) = *from;
	}
	kept.added = pending->added;
	kept.packs = pending->packs;
	free(pending->slots);
	*pending = kept;
	return 0;
}

void pending_release(struct pending *pending)
{
	free(pending->slots);
	bytes_release(&pending->packs);
	memset(pending, 0, sizeof(*pending));
}
