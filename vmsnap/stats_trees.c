/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each node and chunk is referred to, by whom. Trees share subtrees,
 * so no tree is walked as a whole: first each distinct node is read once, top
 * down, and the data chunks below it counted on the way back up; then, a
 * level at a time from the top, each node hands its count and its owner on
 * to its children. Each node is read twice in all, however many snapshots
 * there are.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/stats.h"

static void advance(struct stats *stats, uint64_t bytes)
{
	if (stats->progress)
		progress_add(&stats->progress->done_bytes, bytes);
}

/* 1, or 0 when it can't be read (that is counted). */
static int node_load(struct stats *stats, unsigned level, const struct id *id,
		     bool tell, struct id ids[NODE_FANOUT], struct err *err)
{
	struct err why = { 0 };
	uint32_t size;
	int r = progress_check(stats->progress, err);

	if (r)
		return r;
	r = store_get(stats->thread, CHUNK_NODE, id, stats->buffer,
		      NODE_SIZE_MAX, &size, &why);
	if (!r)
		r = node_decode(stats->buffer, size, level, NODE_FANOUT, ids,
				&why);
	if (r == -ENOMEM)
		return err_set(err, r, "%s", why.text);
	stats->out->damaged += tell && r;
	return r == 0;
}

/* ---- up: chunks below ---- */

static int count_below(struct stats *stats, unsigned level, const struct id *id,
		       uint64_t *below, struct err *err);

static int count_children(struct stats *stats, unsigned level,
			  const struct id *ids, uint64_t *below,
			  struct err *err)
{
	uint64_t sum = 0, child;
	int r = 0;

	for (unsigned n = 0; n < NODE_FANOUT && r >= 0; n++) {
		if (id_is_null(&ids[n]))
			continue;
		child = 1;
		if (level > 1)
			r = count_below(stats, level - 1, &ids[n], &child, err);
		sum += child;
	}
	*below = sum;
	return r;
}

static int count_below(struct stats *stats, unsigned level, const struct id *id,
		       uint64_t *below, struct err *err)
{
	autofree struct id *ids = NULL;
	struct stats_node *node;
	bool is_new;
	int r;

	node = node_map_get(&stats->levels[level], id, &is_new, err);
	if (!node)
		return -ENOMEM;
	*below = node->chunks_below;
	if (!is_new)
		return 0;
	r = alloc_array(&ids, NODE_FANOUT, sizeof(*ids), err);
	if (!r)
		r = node_load(stats, level, id, true, ids, err);
	if (r == 1)
		r = count_children(stats, level, ids, below, err);
	if (r < 0)
		return r;
	/* The map may have grown. */
	node = node_map_get(&stats->levels[level], id, &is_new, err);
	if (!node)
		return -ENOMEM;
	node->chunks_below = *below;
	return 0;
}

/* ---- down: usage ---- */

static int hand_on(struct stats *stats, unsigned level,
		   const struct stats_node *from, struct err *err)
{
	struct usage usage = from->usage;
	struct id ids[NODE_FANOUT];
	struct stats_node *node;
	bool is_new;
	int r = node_load(stats, level, &from->id, false, ids, err);

	if (r <= 0)
		return r;
	for (unsigned n = 0; n < NODE_FANOUT; n++) {
		if (id_is_null(&ids[n]))
			continue;
		if (level == 1) {
			r = chunk_map_add(&stats->chunks, &ids[n], &usage, err);
			if (r)
				return r;
			continue;
		}
		node = node_map_get(&stats->levels[level - 1], &ids[n], &is_new,
				    err);
		if (!node)
			return -ENOMEM;
		usage_add(&node->usage, &usage);
	}
	return 0;
}

/* A chunk or node of one level hands on to the one below only. As progress it
 * counts for as much as the way up: `logical` bytes. */
static int hand_on_all(struct stats *stats, uint64_t logical, struct err *err)
{
	uint64_t nodes = 0, share;
	int r = 0;

	for (unsigned level = 1; level <= TREE_LEVELS_MAX; level++)
		nodes += stats->levels[level].count;
	share = nodes ? logical / nodes : 0;
	for (unsigned level = TREE_LEVELS_MAX; level > 0; level--) {
		const struct node_map *map = &stats->levels[level];

		for (size_t n = 0; n < map->capacity && !r; n++) {
			if (id_is_null(&map->slots[n].id))
				continue;
			r = hand_on(stats, level, &map->slots[n], err);
			advance(stats, share);
		}
	}
	advance(stats, logical - share * nodes);
	return r;
}

/* ---- roots ---- */

static int root_add(struct stats *stats, const struct volume *volume,
		    uint32_t owner, bool is_disk, uint64_t *below,
		    struct err *err)
{
	const struct usage usage = { 1, owner, is_disk };
	unsigned level = tree_levels(volume_chunk_count(volume));
	struct stats_node *node;
	bool is_new;
	int r;

	*below = 0;
	if (id_is_null(&volume->root))
		return 0;
	r = count_below(stats, level, &volume->root, below, err);
	if (r < 0)
		return r;
	node = node_map_get(&stats->levels[level], &volume->root, &is_new, err);
	if (!node)
		return -ENOMEM;
	usage_add(&node->usage, &usage);
	return 0;
}

/* The last chunk is as long as what is left, if it is not a hole. */
static int last_missing(struct stats *stats, const struct volume *volume,
			uint64_t *missing, struct err *err)
{
	uint64_t last = volume_chunk_count(volume) - 1, found;
	struct tree_reader *reader = NULL;
	struct err why = { 0 };
	int r;

	*missing = 0;
	r = tree_reader_new(&reader, stats->thread, &volume->root, last + 1,
			    err);
	if (r)
		return r;
	r = tree_reader_next_data(reader, last, &found, NULL, NULL, &why);
	tree_reader_free(reader);
	if (!r && found == last)
		*missing = volume_chunk_size(volume) -
			   volume_chunk_bytes(volume, last);
	return r == -ENOMEM ? err_set(err, r, "%s", why.text) : 0;
}

static int disk_add(struct stats *stats, const struct volume *volume,
		    uint32_t owner, uint64_t *data_bytes, struct err *err)
{
	struct volume tags = volume_of_tags(volume);
	uint64_t below, missing;
	int r;

	if (volume->has_tags) {
		r = root_add(stats, &tags, owner, false, &below, err);
		if (r)
			return r;
	}
	r = root_add(stats, volume, owner, true, &below, err);
	if (r || !below)
		return r;
	r = last_missing(stats, volume, &missing, err);
	*data_bytes += (below << volume->chunk_log2) - missing;
	return r;
}

int stats_trees(struct stats *stats, const struct vms_snapshot_list *list,
		struct err *err)
{
	uint64_t logical = 0;
	int r = 0;

	for (size_t n = 0; n < list->count; n++)
		logical += stats->out->snapshots[n].logical_bytes;
	if (stats->progress)
		progress_add(&stats->progress->total_bytes, 2 * logical);
	for (size_t n = 0; n < list->count && !r; n++) {
		const struct snapshot *snapshot = &list->snapshots[n];

		for (size_t k = 0; k < snapshot->volume_count && !r; k++) {
			r = disk_add(stats, &snapshot->volumes[k], (uint32_t)n,
				     &stats->out->snapshots[n].data_bytes, err);
			advance(stats, snapshot->volumes[k].size_bytes);
		}
	}
	return r ? r : hand_on_all(stats, logical, err);
}
