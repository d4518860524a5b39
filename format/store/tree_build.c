/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a tree from ids in order: one open node a level. A node that is
 * full goes to the store and its id to the level above; one of holes only goes
 * nowhere. Holes are added at the highest level that they fill, so that an
 * empty volume of any size costs nothing.
 */
#include <errno.h>

#include "format/store/tree_private.h"

struct open_node {
	unsigned count; /* children so far */
	unsigned used;  /* up to the last one that is no hole */
	struct id ids[NODE_FANOUT];
};

struct tree_builder {
	uint64_t chunk_count;
	uint64_t appended;
	unsigned levels;
	struct tree_totals totals;
	struct open_node nodes[TREE_LEVELS_MAX]; /* [0] is level 1 */
};

unsigned tree_levels(uint64_t chunk_count)
{
	unsigned levels = 1;

	while (levels < 8 && tree_span(levels) < chunk_count)
		levels++;
	return levels;
}

int tree_check_count(uint64_t chunk_count, struct err *err)
{
	if (chunk_count <= TREE_CHUNKS_MAX)
		return 0;
	return err_set(err, -EINVAL,
		       "a volume of %llu chunks is too large: at most 2^32",
		       (unsigned long long)chunk_count);
}

int tree_builder_new(struct tree_builder **out, uint64_t chunk_count,
		     struct err *err)
{
	struct tree_builder *builder = NULL;
	int r = tree_check_count(chunk_count, err);

	if (r == 0)
		r = alloc_array(&builder, 1, sizeof(*builder), err);
	if (r < 0)
		return r;
	builder->chunk_count = chunk_count;
	builder->levels = tree_levels(chunk_count);
	*out = builder;
	return 0;
}

void tree_builder_free(struct tree_builder *builder)
{
	free(builder);
}

/* The node's id, stored if it is new; the node is empty after it. */
static int put_node(struct tree_builder *builder, struct store_thread *thread,
		    unsigned level, struct id *id, struct err *err)
{
	struct open_node *node = &builder->nodes[level - 1];
	struct node_header header = { .level = (uint8_t)level };
	uint8_t content[NODE_SIZE_MAX];
	struct put_result result;
	int r;

	if (node->used == 0) {
		memset(id, 0, sizeof(*id));
		node->count = 0;
		return 0;
	}
	header.count = le32_make(node->used);
	memcpy(content, &header, sizeof(header));
	memcpy(content + sizeof(header), node->ids, node->used * ID_SIZE);
	r = store_put(thread, CHUNK_NODE, content,
		      sizeof(header) + node->used * ID_SIZE, id, &result, err);
	if (r < 0)
		return r;
	builder->totals.new_nodes += result.is_new;
	builder->totals.stored_bytes += result.stored_bytes;
	node->count = 0;
	node->used = 0;
	return 0;
}

static void add_child(struct open_node *node, const struct id *id)
{
	node->ids[node->count++] = *id;
	if (!id_is_null(id))
		node->used = node->count;
}

/* Full nodes from `level` up are put; the root waits for finish. */
static int close_full(struct tree_builder *builder, struct store_thread *thread,
		      unsigned level, struct err *err)
{
	struct id id;

	while (level < builder->levels &&
	       builder->nodes[level - 1].count == NODE_FANOUT) {
		int r = put_node(builder, thread, level, &id, err);

		if (r < 0)
			return r;
		add_child(&builder->nodes[level], &id);
		level++;
	}
	return 0;
}

static int check_room(const struct tree_builder *builder, uint64_t count,
		      struct err *err)
{
	if (count <= builder->chunk_count - builder->appended)
		return 0;
	return err_set(err, -EINVAL, "more than %llu ids for the volume's tree",
		       (unsigned long long)builder->chunk_count);
}

int tree_builder_append(struct tree_builder *builder,
			struct store_thread *thread, const struct id *ids,
			uint64_t count, struct err *err)
{
	int r = check_room(builder, count, err);

	for (uint64_t n = 0; n < count && r == 0; n++) {
		add_child(&builder->nodes[0], &ids[n]);
		builder->appended++;
		r = close_full(builder, thread, 1, err);
	}
	return r;
}

/* The highest level whose next child is `count` chunks of holes or less, and
 * below which nothing is open. */
static unsigned hole_level(const struct tree_builder *builder, uint64_t count)
{
	unsigned level = 1;

	while (level < builder->levels &&
	       builder->nodes[level - 1].count == 0 &&
	       tree_span(level) <= count)
		level++;
	return level;
}

int tree_builder_append_holes(struct tree_builder *builder,
			      struct store_thread *thread, uint64_t count,
			      struct err *err)
{
	int r = check_room(builder, count, err);

	while (count > 0 && r == 0) {
		unsigned level = hole_level(builder, count);
		struct open_node *node = &builder->nodes[level - 1];
		uint64_t children = min_u64(count / tree_span(level - 1),
					    NODE_FANOUT - node->count);

		memset(&node->ids[node->count], 0, children * ID_SIZE);
		node->count += (unsigned)children;
		builder->appended += children * tree_span(level - 1);
		count -= children * tree_span(level - 1);
		r = close_full(builder, thread, level, err);
	}
	return r;
}

int tree_builder_finish(struct tree_builder *builder,
			struct store_thread *thread, struct id *root,
			struct tree_totals *totals, struct err *err)
{
	struct id id = { { 0 } };
	int r;

	if (builder->appended != builder->chunk_count)
		return err_set(err, -EINVAL,
			       "%llu of %llu ids have come for the tree",
			       (unsigned long long)builder->appended,
			       (unsigned long long)builder->chunk_count);
	for (unsigned level = 1; level < builder->levels; level++) {
		if (builder->nodes[level - 1].count == 0)
			continue;
		r = put_node(builder, thread, level, &id, err);
		if (r < 0)
			return r;
		add_child(&builder->nodes[level], &id);
		r = close_full(builder, thread, level + 1, err);
		if (r < 0)
			return r;
	}
	r = put_node(builder, thread, builder->levels, &id, err);
	if (r < 0)
		return r;
	*root = id;
	*totals = builder->totals;
	return 0;
}
