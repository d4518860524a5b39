/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a tree. The reader keeps one node a level, the path to where it was
 * last: reading on in order costs one node for 256 chunks. A node is believed
 * only after the store has recomputed its id, and is checked even then, since
 * whoever wrote it may have had a bug.
 */
#include <errno.h>

#include "format/store/tree_private.h"

struct path_node {
	bool is_loaded;
	uint64_t first;
	struct id ids[NODE_FANOUT];
};

struct tree_reader {
	struct store_thread *thread;
	struct id root;
	uint64_t chunk_count;
	unsigned levels;
	struct path_node path[TREE_LEVELS_MAX]; /* [0] is level 1 */
	uint8_t buffer[NODE_SIZE_MAX];
};

/* Where to tell what a damaged node covers; NULL: nobody asks. */
struct bad_range {
	uint64_t *first, *count;
};

int node_decode(const void *content, size_t size, unsigned level,
		unsigned children_max, struct id ids[NODE_FANOUT],
		struct err *err)
{
	struct node_header header;
	const uint8_t *from = (const uint8_t *)content + sizeof(header);
	static const struct id null;
	uint32_t count;

	if (size < sizeof(header))
		return err_set(err, -EBADMSG, "a node of %zu bytes: cut short",
			       size);
	memcpy(&header, content, sizeof(header));
	count = le32_get(header.count);
	if (header.level != level)
		return err_set(err, -EBADMSG,
			       "a node of level %u where level %u is due",
			       header.level, level);
	if (!bytes_are_zero(header.reserved, sizeof(header.reserved)))
		return err_set(err, -EBADMSG,
			       "a node's reserved bytes are not zero");
	if (count < 1 || count > NODE_FANOUT)
		return err_set(err, -EBADMSG,
			       "a node of %u children: not 1 to %u", count,
			       NODE_FANOUT);
	if (size != sizeof(header) + (size_t)count * ID_SIZE)
		return err_set(err, -EBADMSG,
			       "a node of %zu bytes does not hold %u children",
			       size, count);
	if (count > children_max)
		return err_set(err, -EBADMSG,
			       "a node of %u children, %u of them past the end "
			       "of the volume",
			       count, count - children_max);
	if (memcmp(from + (size_t)(count - 1) * ID_SIZE, &null, ID_SIZE) == 0)
		return err_set(err, -EBADMSG,
			       "a node whose last child is a hole");
	memcpy(ids, from, (size_t)count * ID_SIZE);
	memset(ids + count, 0, (size_t)(NODE_FANOUT - count) * ID_SIZE);
	return 0;
}

int tree_load(struct store_thread *thread, const struct id *id, unsigned level,
	      uint64_t first, uint64_t chunk_count, uint8_t *buffer,
	      struct id ids[NODE_FANOUT], struct err *err)
{
	char hex[ID_HEX_SIZE];
	uint32_t size;
	int r;

	if (id_is_null(id)) {
		memset(ids, 0, NODE_FANOUT * sizeof(*ids));
		return 0;
	}
	r = store_get(thread, CHUNK_NODE, id, buffer, NODE_SIZE_MAX, &size,
		      err);
	if (r < 0)
		return r;
	r = node_decode(buffer, size, level,
			tree_children(first, level, chunk_count), ids, err);
	if (r < 0) {
		hex_encode(hex, id->b, ID_SIZE);
		err_prefix(err, "tree node %s", hex);
	}
	return r;
}

int tree_reader_new(struct tree_reader **out, struct store_thread *thread,
		    const struct id *root, uint64_t chunk_count,
		    struct err *err)
{
	struct tree_reader *reader = NULL;
	int r = tree_check_count(chunk_count, err);

	if (r == 0)
		r = alloc_array(&reader, 1, sizeof(*reader), err);
	if (r < 0)
		return r;
	reader->thread = thread;
	reader->root = *root;
	reader->chunk_count = chunk_count;
	reader->levels = tree_levels(chunk_count);
	*out = reader;
	return 0;
}

void tree_reader_free(struct tree_reader *reader)
{
	free(reader);
}

static bool holds(const struct tree_reader *reader, unsigned level,
		  uint64_t chunk)
{
	const struct path_node *node = &reader->path[level - 1];

	return node->is_loaded && node->first == (chunk & -tree_span(level));
}

/* The node of this level above `chunk`, loading those over it as needed. */
static int descend(struct tree_reader *reader, unsigned level, uint64_t chunk,
		   const struct bad_range *bad, struct err *err)
{
	unsigned at = level;
	int r;

	while (at <= reader->levels && !holds(reader, at, chunk))
		at++;
	while (at-- > level) {
		struct path_node *node = &reader->path[at - 1];
		const struct id *id =
			at == reader->levels
				? &reader->root
				: &reader->path[at]
					   .ids[tree_child(chunk, at + 1)];

		node->first = chunk & -tree_span(at);
		node->is_loaded = false;
		r = tree_load(reader->thread, id, at, node->first,
			      reader->chunk_count, reader->buffer, node->ids,
			      err);
		if (r < 0) {
			if (bad->first)
				*bad->first = node->first;
			if (bad->count)
				*bad->count = min_u64(tree_span(at),
						      reader->chunk_count -
							      node->first);
			return r;
		}
		node->is_loaded = true;
	}
	return 0;
}

int tree_reader_ids(struct tree_reader *reader, uint64_t first, uint64_t count,
		    struct id *ids, uint64_t *bad_first, uint64_t *bad_count,
		    struct err *err)
{
	const struct bad_range bad = { bad_first, bad_count };

	if (first > reader->chunk_count || count > reader->chunk_count - first)
		return err_set(err, -EINVAL,
			       "chunks %llu to %llu of a volume of %llu",
			       (unsigned long long)first,
			       (unsigned long long)(first + count),
			       (unsigned long long)reader->chunk_count);
	while (count) {
		unsigned child = tree_child(first, 1);
		uint64_t run = min_u64(count, NODE_FANOUT - child);
		int r = descend(reader, 1, first, &bad, err);

		if (r < 0)
			return r;
		memcpy(ids, &reader->path[0].ids[child], run * sizeof(*ids));
		ids += run;
		first += run;
		count -= run;
	}
	return 0;
}

int tree_reader_next_data(struct tree_reader *reader, uint64_t first,
			  uint64_t *found, uint64_t *bad_first,
			  uint64_t *bad_count, struct err *err)
{
	const struct bad_range bad = { bad_first, bad_count };
	unsigned level = reader->levels;
	uint64_t chunk = first;

	while (chunk < reader->chunk_count) {
		const uint64_t step = tree_span(level - 1);
		const struct id *ids = reader->path[level - 1].ids;
		unsigned child = tree_child(chunk, level);
		int r = descend(reader, level, chunk, &bad, err);

		if (r < 0)
			return r;
		while (child < NODE_FANOUT && id_is_null(&ids[child])) {
			child++;
			chunk = (chunk & -step) + step;
		}
		if (child == NODE_FANOUT)
			level = reader->levels;
		else if (level > 1)
			level--;
		else
			break;
	}
	*found = min_u64(chunk, reader->chunk_count);
	return 0;
}
