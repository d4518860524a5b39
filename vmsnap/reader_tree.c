/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader's way from the root down: nodes come through the cache too, so a
 * random read of a large volume costs one fetch, not one a level. A node is
 * checked against its place each time, as the same one may stand in several.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/reader.h"

/* Nodes that one call for an extent looks into. */
#define EXTENT_NODES_MAX 64u

/* Chunks below a child of a node of this level. */
static uint64_t child_span(unsigned level)
{
	uint64_t span = 1;

	while (--level)
		span *= NODE_FANOUT;
	return span;
}

static int node_fetch(struct visit *visit, struct cache_entry *entry,
		      struct err *err)
{
	uint32_t size = 0;
	int r = visit_thread(visit, err);

	if (r == 0)
		r = store_get(visit->thread, CHUNK_NODE, &entry->id,
			      entry->data, entry->capacity, &size, err);
	chunk_cache_finish(visit->reader->cache->chunks, entry, size, r);
	return r;
}

/* The entry, ready and held. */
static int node_hold(struct visit *visit, const struct id *id,
		     struct cache_entry **out, struct err *err)
{
	struct chunk_cache *chunks = visit->reader->cache->chunks;
	bool is_mine;
	int r;

	if (visit->only_cached) {
		*out = chunk_cache_peek(chunks, CHUNK_NODE, id, NODE_SIZE_MAX);
		return *out ? 0 : -EAGAIN;
	}
	r = chunk_cache_begin(chunks, CHUNK_NODE, id, NODE_SIZE_MAX, out,
			      &is_mine, err);
	if (r < 0)
		return r;
	if (is_mine) {
		r = node_fetch(visit, *out, err);
	} else {
		r = chunk_cache_wait(chunks, *out);
		if (r < 0)
			err_set(err, r,
				"another reader could not fetch a tree node");
	}
	if (r < 0)
		chunk_cache_put(chunks, *out);
	return r;
}

/* The children of the node whose first chunk is `first`. */
static int node_ids(struct visit *visit, const struct id *id, unsigned level,
		    uint64_t first, struct id ids[NODE_FANOUT], struct err *err)
{
	uint64_t left = visit->reader->chunk_count - first;
	struct cache_entry *entry = NULL;
	int r = node_hold(visit, id, &entry, err);

	if (r < 0)
		return r;
	r = node_decode(
		entry->data, entry->size, level,
		(unsigned)min_u64(NODE_FANOUT, div_up(left, child_span(level))),
		ids, err);
	chunk_cache_put(visit->reader->cache->chunks, entry);
	return r;
}

/* Where a descent to a chunk ended. */
struct place_in_tree {
	unsigned level; /* of the node: 1, or higher with a hole beneath */
	uint64_t first; /* its first chunk */
	unsigned child; /* the one that leads to the chunk */
	struct id ids[NODE_FANOUT];
};

/* Ends at level 1, or where all below is a hole. On failure level and first
 * tell which node it was. */
static int descend(struct visit *visit, uint64_t chunk,
		   struct place_in_tree *at, struct err *err)
{
	struct id id = visit->reader->volume.root;
	int r;

	at->first = 0;
	at->child = 0;
	at->level = visit->reader->levels;
	if (id_is_null(&id)) {
		memset(at->ids, 0, sizeof(at->ids));
		at->child = (unsigned)(chunk / child_span(at->level));
		return 0;
	}
	for (;; at->level--) {
		uint64_t span = child_span(at->level);

		at->first = chunk - chunk % (span * NODE_FANOUT);
		r = node_ids(visit, &id, at->level, at->first, at->ids, err);
		if (r < 0)
			return r;
		at->child = (unsigned)((chunk - at->first) / span);
		id = at->ids[at->child];
		if (at->level == 1 || id_is_null(&id))
			return 0;
	}
}

int visit_ids(struct visit *visit, uint64_t first, unsigned count,
	      struct id *ids, struct err *err)
{
	struct place_in_tree at;
	int r = descend(visit, first, &at, err);

	if (r < 0)
		return r;
	if (at.level > 1)
		memset(ids, 0, count * sizeof(*ids));
	else
		memcpy(ids, &at.ids[at.child], count * sizeof(*ids));
	return 0;
}

/* Chunks from `chunk` on that are alike, as far as this node tells. */
static uint64_t alike(const struct place_in_tree *at, uint64_t chunk,
		      bool *is_hole)
{
	uint64_t span = child_span(at->level);
	unsigned child = at->child;

	*is_hole = id_is_null(&at->ids[child]);
	while (child < NODE_FANOUT && id_is_null(&at->ids[child]) == *is_hole)
		child++;
	return at->first + child * span - chunk;
}

/* What can't be read is data up to the end of the damaged node. */
static uint64_t damaged_span(const struct place_in_tree *at, uint64_t chunk)
{
	return at->first + child_span(at->level) * NODE_FANOUT - chunk;
}

int vms_reader_extent(struct vms_reader *reader, uint64_t offset,
		      uint64_t length, bool *is_hole, uint64_t *run,
		      struct err *err)
{
	const uint64_t size = reader->volume.size_bytes;
	const unsigned log2 = reader->volume.chunk_log2;
	struct visit visit = { .reader = reader };
	struct place_in_tree at;
	bool kind = false, one;
	uint64_t end, chunk;

	if (offset >= size || !length)
		return err_set(
			err, -EINVAL,
			"disk '%s' has nothing at %llu: its size is %llu",
			reader->volume.name, (unsigned long long)offset,
			(unsigned long long)size);
	end = offset + min_u64(length, size - offset);
	chunk = offset >> log2;
	for (unsigned n = 0; n < EXTENT_NODES_MAX && chunk << log2 < end; n++) {
		uint64_t count;

		if (descend(&visit, chunk, &at, NULL) < 0) {
			one = false;
			count = damaged_span(&at, chunk);
		} else {
			count = alike(&at, chunk, &one);
		}
		if (n == 0)
			kind = one;
		if (one != kind)
			break;
		chunk += count;
	}
	visit_end(&visit);
	*is_hole = kind;
	*run = min_u64(chunk << log2, end) - offset;
	return 0;
}

uint64_t vms_reader_data_bytes(struct vms_reader *reader, unsigned max_runs)
{
	const uint64_t size = reader->volume.size_bytes;
	const unsigned log2 = reader->volume.chunk_log2;
	struct visit visit = { .reader = reader };
	uint64_t holes = 0, at = 0;

	for (unsigned n = 0; n < max_runs && at < size; n++) {
		struct place_in_tree place;
		bool is_hole = false;
		uint64_t run;

		if (descend(&visit, at >> log2, &place, NULL) < 0)
			run = damaged_span(&place, at >> log2) << log2;
		else
			run = alike(&place, at >> log2, &is_hole) << log2;
		run = min_u64(run, size - at);
		if (is_hole)
			holes += run;
		at += run;
	}
	visit_end(&visit);
	return size - holes;
}
