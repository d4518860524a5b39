/* SPDX-License-Identifier: Apache-2.0 */
/* The hash tables of the stats: open addressing over ids, which are random. */
#include <errno.h>
#include <string.h>

#include "vmsnap/stats.h"

#define CAPACITY_MIN   64u
#define REFERENCES_MAX ((1u << 30) - 1)

void usage_add(struct usage *to, const struct usage *more)
{
	to->references = to->references > UINT64_MAX - more->references
				 ? UINT64_MAX
				 : to->references + more->references;
	if (to->owner == OWNER_NONE)
		to->owner = more->owner;
	else if (more->owner != OWNER_NONE && more->owner != to->owner)
		to->owner = OWNER_SHARED;
	to->is_disk |= more->is_disk;
}

static struct stats_node *node_slot(const struct node_map *map,
				    const struct id *id)
{
	size_t at = (size_t)be64_get(id->b) & (map->capacity - 1);

	while (!id_is_null(&map->slots[at].id) &&
	       !id_equal(&map->slots[at].id, id))
		at = (at + 1) & (map->capacity - 1);
	return &map->slots[at];
}

static int node_map_grow(struct node_map *map, struct err *err)
{
	struct node_map larger = {
		.capacity = map->capacity ? 2 * map->capacity : CAPACITY_MIN,
		.count = map->count,
	};
	int r = alloc_array(&larger.slots, larger.capacity,
			    sizeof(*larger.slots), err);

	if (r)
		return r;
	for (size_t n = 0; n < map->capacity; n++) {
		if (!id_is_null(&map->slots[n].id))
			*node_slot(&larger, &map->slots[n].id) = map->slots[n];
	}
	free(map->slots);
	*map = larger;
	return 0;
}

struct stats_node *node_map_get(struct node_map *map, const struct id *id,
				bool *is_new, struct err *err)
{
	struct stats_node *node;

	if (4 * (map->count + 1) > 3 * map->capacity &&
	    node_map_grow(map, err) < 0)
		return NULL;
	node = node_slot(map, id);
	*is_new = id_is_null(&node->id);
	if (*is_new) {
		node->id = *id;
		node->usage.owner = OWNER_NONE;
		map->count++;
	}
	return node;
}

bool node_map_has(const struct node_map *map, const struct id *id)
{
	return map->count && !id_is_null(&node_slot(map, id)->id);
}

static uint64_t chunk_print(const struct id *id)
{
	uint64_t print = be64_get(id->b);

	return print ? print : 1;
}

static struct stats_chunk *chunk_slot(const struct chunk_map *map,
				      uint64_t print)
{
	size_t at = (size_t)print & (map->capacity - 1);

	while (map->slots[at].print && map->slots[at].print != print)
		at = (at + 1) & (map->capacity - 1);
	return &map->slots[at];
}

static int chunk_map_grow(struct chunk_map *map, struct err *err)
{
	struct chunk_map larger = {
		.capacity = map->capacity ? 2 * map->capacity : CAPACITY_MIN,
		.count = map->count,
	};
	int r = alloc_array(&larger.slots, larger.capacity,
			    sizeof(*larger.slots), err);

	if (r)
		return r;
	for (size_t n = 0; n < map->capacity; n++) {
		if (map->slots[n].print)
			*chunk_slot(&larger, map->slots[n].print) =
				map->slots[n];
	}
	free(map->slots);
	*map = larger;
	return 0;
}

int chunk_map_add(struct chunk_map *map, const struct id *id,
		  const struct usage *usage, struct err *err)
{
	uint64_t print = chunk_print(id);
	struct stats_chunk *chunk;
	struct usage sum;

	if (4 * (map->count + 1) > 3 * map->capacity &&
	    chunk_map_grow(map, err) < 0)
		return -ENOMEM;
	chunk = chunk_slot(map, print);
	if (!chunk->print) {
		chunk->print = print;
		chunk->owner = OWNER_NONE;
		map->count++;
	}
	sum = (struct usage){ chunk->references, chunk->owner, chunk->is_disk };
	usage_add(&sum, usage);
	chunk->references = (uint32_t)min_u64(sum.references, REFERENCES_MAX) &
			    REFERENCES_MAX;
	chunk->owner = sum.owner;
	chunk->is_disk = sum.is_disk;
	return 0;
}

struct stats_chunk *chunk_map_find(const struct chunk_map *map,
				   const struct id *id)
{
	struct stats_chunk *chunk;

	if (!map->count)
		return NULL;
	chunk = chunk_slot(map, chunk_print(id));
	return chunk->print ? chunk : NULL;
}
