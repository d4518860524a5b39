/* SPDX-License-Identifier: Apache-2.0 */
/* What building and reading trees share. Private to tree_*.c. */
#ifndef FORMAT_STORE_TREE_PRIVATE_H
#define FORMAT_STORE_TREE_PRIVATE_H

#include "format/base/base.h"
#include "format/store/tree.h"

#define TREE_CHUNKS_MAX (1ULL << 32)

/* Chunks below one node of this level; level 0 is a chunk. */
static inline uint64_t tree_span(unsigned level)
{
	return 1ULL << (8 * level);
}

/* Which child of its level's node leads to `chunk`. */
static inline unsigned tree_child(uint64_t chunk, unsigned level)
{
	return (unsigned)((chunk >> (8 * (level - 1))) % NODE_FANOUT);
}

/* Children that the node at `first` may have before the volume ends. */
static inline unsigned tree_children(uint64_t first, unsigned level,
				     uint64_t chunk_count)
{
	return (unsigned)min_u64(
		NODE_FANOUT, div_up(chunk_count - first, tree_span(level - 1)));
}

/* -EINVAL above the largest volume. */
int tree_check_count(uint64_t chunk_count, struct err *err);

/*
 * The children of one node, holes for the null id. `buffer` has NODE_SIZE_MAX
 * bytes.
 */
int tree_load(struct store_thread *thread, const struct id *id, unsigned level,
	      uint64_t first, uint64_t chunk_count, uint8_t *buffer,
	      struct id ids[NODE_FANOUT], struct err *err);

#endif
