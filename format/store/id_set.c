/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing. Ids are random, so eight of their
 * bytes are the hash.
 */
#include "format/store/id_set.h"

#include "format/base/base.h"

#define CAPACITY_MIN 64u

static struct id *id_set_slot(const struct id_set *set, const struct id *id)
{
	uint64_t at;

	memcpy(&at, id->b + 16, sizeof(at));
	for (at &= set->capacity - 1;; at = (at + 1) & (set->capacity - 1))
		if (id_is_null(&set->slots[at]) ||
		    id_equal(&set->slots[at], id))
			return &set->slots[at];
}

static int id_set_grow(struct id_set *set, struct err *err)
{
	struct id_set larger = {
		.capacity = set->capacity ? 2 * set->capacity : CAPACITY_MIN,
		.count = set->count,
		.has_null = set->has_null,
	};
	size_t n;
	int r = alloc_array(&larger.slots, larger.capacity, sizeof(struct id),
			    err);

	if (r < 0)
		return r;
	for (n = 0; n < set->capacity; n++)
		if (!id_is_null(&set->slots[n]))
			*id_set_slot(&larger, &set->slots[n]) = set->slots[n];
	free(set->slots);
	*set = larger;
	return 0;
}

int id_set_add(struct id_set *set, const struct id *id, struct err *err)
{
	struct id *slot;
	int r;

	if (id_is_null(id)) {
		r = !set->has_null;
		set->has_null = true;
		return r;
	}
	if (4 * (set->count + 1) > 3 * set->capacity) {
		r = id_set_grow(set, err);
		if (r < 0)
			return r;
	}
	slot = id_set_slot(set, id);
	if (!id_is_null(slot))
		return 0;
	*slot = *id;
	set->count++;
	return 1;
}

bool id_set_has(const struct id_set *set, const struct id *id)
{
	if (id_is_null(id))
		return set->has_null;
	return set->count && !id_is_null(id_set_slot(set, id));
}

void id_set_release(struct id_set *set)
{
	free(set->slots);
	memset(set, 0, sizeof(*set));
}
