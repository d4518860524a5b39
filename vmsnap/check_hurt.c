/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the damage hurts: which bytes of which disks can't be read. Runs only
 * where there is damage. What may be lost is tried once more through the
 * store, as a restore would, so that a chunk with another good copy hurts
 * nobody; then all trees are walked again. Subtrees without damage are
 * remembered, and walked once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/check.h"

struct open_node {
	struct id key;
	bool is_open, is_hurt, once;
};

struct hurt_walk {
	struct check *check;
	struct id_set clean;
	uint32_t *ranges; /* listed so far, an error each */
	size_t error_count;
	/* The volume in work. */
	const struct root *root;
	const struct volume *disk;
	const struct volume *volume;                /* the disk, or its tags */
	struct open_node path[TREE_LEVELS_MAX + 1]; /* [0] is not used */
	unsigned last_level;
};

/* ---- is it lost? ---- */

static int spare_readable(struct check *check, size_t *lost, struct err *err)
{
	autofree uint8_t *content = NULL;
	int r = alloc_array(&content, CHUNK_SIZE_MAX, 1, err);

	for (size_t n = 0; n < check->chunks.capacity && !r; n++) {
		struct blame *blame = &check->chunks.slots[n];
		struct err why = { 0 };
		uint32_t size;

		if (id_is_null(&blame->id))
			continue;
		r = progress_check(check->progress, err);
		if (r)
			return r;
		if (!blame->is_final) {
			r = store_get(check->thread,
				      (enum chunk_kind)blame->kind, &blame->id,
				      content, CHUNK_SIZE_MAX, &size, &why);
			if (check_is_fatal(r))
				return err_set(err, r, "%s", why.text);
			blame->is_spared = r == 0;
		}
		*lost += !blame->is_spared;
		r = 0;
	}
	return r;
}

/* ---- the walk ---- */

/* Nodes up to `level` are done with: those without damage need no second
 * look, and a hurt one hurts the node above it. */
static int close_nodes(struct hurt_walk *walk, unsigned level, struct err *err)
{
	int r = 0;

	for (unsigned n = 1; n <= level && r >= 0; n++) {
		struct open_node *node = &walk->path[n];

		if (!node->is_open)
			continue;
		node->is_open = false;
		if (node->is_hurt && n < TREE_LEVELS_MAX)
			walk->path[n + 1].is_hurt = true;
		else if (!node->is_hurt && node->once)
			r = id_set_add(&walk->clean, &node->key, err);
	}
	return r < 0 ? r : 0;
}

static void range_bytes(const struct volume *volume, uint64_t first,
			uint64_t count, struct range *out)
{
	uint64_t end = min_u64((first + count) << volume->chunk_log2,
			       volume->size_bytes);

	out->offset = first << volume->chunk_log2;
	out->length = end - out->offset;
}

static int hurts(struct hurt_walk *walk, uint32_t number, uint64_t first,
		 uint64_t count, struct err *err)
{
	struct check *check = walk->check;
	struct vms_hurt *hurt;
	struct range range;
	size_t before;
	int r = check_error_hurts(check, number, &walk->root->snapshot,
				  walk->root->name, walk->disk->name, &hurt,
				  err);

	/* Lost tags make the next backup read all; no byte is lost. */
	if (r || walk->volume != walk->disk)
		return r;
	range_bytes(walk->volume, first, count, &range);
	before = hurt->ranges.count;
	if (walk->ranges[number] >= CHECK_RANGES_MAX) {
		const struct range *last =
			before ? &hurt->ranges.ranges[before - 1] : NULL;

		if (!last || last->offset + last->length != range.offset) {
			walk->ranges[number] = CHECK_RANGES_MAX + 1;
			return 0;
		}
	}
	r = ranges_add(&hurt->ranges, range.offset, range.length, err);
	if (!r && walk->ranges[number] < CHECK_RANGES_MAX)
		walk->ranges[number] += (uint32_t)(hurt->ranges.count - before);
	return r;
}

static int visit(void *arg, unsigned level, const struct id *id, uint64_t first,
		 uint64_t count, struct err *err)
{
	struct hurt_walk *walk = arg;
	const struct blame *blame;
	struct open_node *node;
	int r;

	if (level == 0) {
		blame = blame_find(&walk->check->chunks, id);
		if (!blame || blame->is_spared)
			return 0;
		walk->path[1].is_hurt = true;
		return hurts(walk, blame->error, first, 1, err);
	}
	r = progress_check(walk->check->progress, err);
	if (!r)
		r = close_nodes(walk, level, err);
	if (r)
		return r;
	node = &walk->path[level];
	node->once =
		node_key(walk->volume, level, id, first, count, &node->key);
	if (node->once && id_set_has(&walk->clean, &node->key))
		return 0;
	node->is_open = true;
	node->is_hurt = false;
	walk->last_level = level;
	return 1;
}

static int node_damaged(void *arg, const struct id *id, uint64_t first,
			uint64_t count, const struct err *why)
{
	struct hurt_walk *walk = arg;
	const struct blame *blame = blame_find(&walk->check->chunks, id);

	if (check_is_fatal(why->code))
		return why->code;
	walk->path[walk->last_level].is_hurt = true;
	/* One that could be read the first time: told by the next check. */
	return blame ? hurts(walk, blame->error, first, count, NULL) : 0;
}

static int walk_volume(struct hurt_walk *walk, const struct volume *volume,
		       struct err *err)
{
	const struct tree_visit how = { visit, node_damaged, walk };
	int r;

	walk->volume = volume;
	memset(walk->path, 0, sizeof(walk->path));
	r = tree_walk(walk->check->thread, &volume->root,
		      volume_chunk_count(volume), &how, err);
	return r ? r : close_nodes(walk, TREE_LEVELS_MAX, err);
}

static int walk_root(void *arg, const struct root *root, struct err *err)
{
	struct hurt_walk *walk = arg;
	int r = 0;

	walk->root = root;
	for (size_t n = 0; n < root->volume_count && !r; n++) {
		walk->disk = &root->volumes[n];
		r = walk_volume(walk, walk->disk, err);
		if (!r && walk->disk->has_tags) {
			struct volume tags = volume_of_tags(walk->disk);

			r = walk_volume(walk, &tags, err);
		}
	}
	return r;
}

static void words_cut(const struct hurt_walk *walk)
{
	for (size_t n = 0; n < walk->error_count; n++) {
		struct vms_check_error *error = &walk->check->result.errors[n];
		size_t used = strlen(error->what);

		if (walk->ranges[n] > CHECK_RANGES_MAX)
			snprintf(error->what + used, sizeof(error->what) - used,
				 " (only %u ranges are listed)",
				 CHECK_RANGES_MAX);
	}
}

int check_hurt(struct check *check, struct err *err)
{
	struct hurt_walk walk = { .check = check };
	size_t lost = 0;
	int r;

	if (!check->chunks.count)
		return 0;
	r = spare_readable(check, &lost, err);
	if (r || !lost)
		return r;
	walk.error_count = check->result.error_count;
	r = alloc_array(&walk.ranges, walk.error_count, sizeof(*walk.ranges),
			err);
	if (!r)
		r = check_each_root(check, false, walk_root, &walk, err);
	if (!r)
		words_cut(&walk);
	free(walk.ranges);
	id_set_release(&walk.clean);
	return r;
}
