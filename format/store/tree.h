/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees of chunk ids. spec/store.md, Tree. A node lists 256 children; a hole
 * is the null id. The builder takes ids in order and holds one open node a
 * level; the reader holds one node a level.
 */
#ifndef FORMAT_STORE_TREE_H
#define FORMAT_STORE_TREE_H

#include "format/store/store.h"

#define NODE_FANOUT     256u
#define NODE_SIZE_MAX   (8u + NODE_FANOUT * ID_SIZE)
#define TREE_LEVELS_MAX 4u /* 2^46 / 2^14 chunks */

struct node_header {
	uint8_t level;
	uint8_t reserved[3];
	le32 count;
};
static_assert(sizeof(struct node_header) == 8, "spec/store.md, Tree");

/* The root's level for so many chunks, at least 1. */
unsigned tree_levels(uint64_t chunk_count);

/*
 * A node from its content: NODE_FANOUT ids, holes filled in. `level` is what
 * is expected; `children_max` how many may be there before the volume ends.
 */
int node_decode(const void *content, size_t size, unsigned level,
		unsigned children_max, struct id ids[NODE_FANOUT],
		struct err *err);

struct tree_totals {
	uint64_t new_nodes;
	uint64_t stored_bytes;
};

struct tree_builder;
/* Nodes are put through `thread` of whoever calls append at the time; calls
 * may come from several threads, one at a time. */
int tree_builder_new(struct tree_builder **out, uint64_t chunk_count,
		     struct err *err);
int tree_builder_append(struct tree_builder *builder,
			struct store_thread *thread, const struct id *ids,
			uint64_t count, struct err *err);
/* O(levels + nodes touched) for any count. */
int tree_builder_append_holes(struct tree_builder *builder,
			      struct store_thread *thread, uint64_t count,
			      struct err *err);
/* Exactly chunk_count ids must have come. */
int tree_builder_finish(struct tree_builder *builder,
			struct store_thread *thread, struct id *root,
			struct tree_totals *totals, struct err *err);
void tree_builder_free(struct tree_builder *builder);

/* Reads ids of a volume; keeps the path to where it was. One thread. */
struct tree_reader;
int tree_reader_new(struct tree_reader **out, struct store_thread *thread,
		    const struct id *root, uint64_t chunk_count,
		    struct err *err);
void tree_reader_free(struct tree_reader *reader);
/* ids[0..count) of the chunks from `first`. On a damaged node -EBADMSG, and
 * *bad_first and *bad_count (may be NULL) tell which chunks it covers. */
int tree_reader_ids(struct tree_reader *reader, uint64_t first, uint64_t count,
		    struct id *ids, uint64_t *bad_first, uint64_t *bad_count,
		    struct err *err);
/*
 * The first chunk at or after `first` that is not a hole, skipping whole
 * subtrees; chunk_count when there is none. Errors as tree_reader_ids().
 */
int tree_reader_next_data(struct tree_reader *reader, uint64_t first,
			  uint64_t *found, uint64_t *bad_first,
			  uint64_t *bad_count, struct err *err);

/*
 * Walk two volumes of the same chunk count where they differ; `fn` gets runs of
 * chunks [first, first + count) whose ids differ. A null root is all holes.
 */
typedef int tree_diff_fn(void *arg, uint64_t first, uint64_t count,
			 const struct id *a, const struct id *b,
			 struct err *err);
int tree_diff(struct store_thread *thread, const struct id *a,
	      const struct id *b, uint64_t chunk_count, tree_diff_fn *fn,
	      void *arg, struct err *err);

/*
 * Visit each node and each data chunk id below `root`, top down, in order.
 * `visit` answers for a node: 1 go in, 0 skip it (seen already), < 0 stop.
 * For a data chunk (level 0) the answer is 0 or < 0. A node that can't be read
 * is told to `damaged` with the chunks it covers, and the walk goes on if that
 * answers 0.
 */
struct tree_visit {
	int (*visit)(void *arg, unsigned level, const struct id *id,
		     uint64_t first_chunk, uint64_t chunk_count,
		     struct err *err);
	int (*damaged)(void *arg, const struct id *id, uint64_t first_chunk,
		       uint64_t chunk_count, const struct err *why);
	void *arg;
};
int tree_walk(struct store_thread *thread, const struct id *root,
	      uint64_t chunk_count, const struct tree_visit *visit,
	      struct err *err);

#endif
