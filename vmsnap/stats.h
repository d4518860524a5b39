/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the stats share. Private to stats*.c. */
#ifndef VMSNAP_STATS_H
#define VMSNAP_STATS_H

#include "vmsnap/engine.h"

#define OWNER_NONE   UINT32_MAX
#define OWNER_SHARED (UINT32_MAX - 1)

/* Who refers to a node or a chunk, and how often. */
struct usage {
	uint64_t references; /* saturates */
	uint32_t owner;      /* number of the only snapshot, or OWNER_* */
	bool is_disk;        /* below a disk's root, not only tags */
};
void usage_add(struct usage *to, const struct usage *more);

struct stats_node {
	struct id id; /* null: free */
	struct usage usage;
	uint64_t chunks_below; /* data chunks, each time they are named */
};

/* Nodes of one level; zeroed is empty. */
struct node_map {
	struct stats_node *slots;
	size_t capacity, count;
};
/* The node's slot, *is_new when it was not there; NULL without memory. It moves
 * with the next call. */
struct stats_node *node_map_get(struct node_map *map, const struct id *id,
				bool *is_new, struct err *err);

bool node_map_has(const struct node_map *map, const struct id *id);

/* A data chunk: 16 bytes, known by 8 of its id. A collision would count two
 * chunks as one, which no number here would show. */
struct stats_chunk {
	uint64_t print; /* 0: free */
	uint32_t owner;
	uint32_t references : 30; /* saturates */
	uint32_t is_disk : 1;
	uint32_t is_counted : 1;
};
static_assert(sizeof(struct stats_chunk) == 16, "memory of stats");

struct chunk_map {
	struct stats_chunk *slots;
	size_t capacity, count;
};
int chunk_map_add(struct chunk_map *map, const struct id *id,
		  const struct usage *usage, struct err *err);
struct stats_chunk *chunk_map_find(const struct chunk_map *map,
				   const struct id *id);

struct stats {
	struct vms *vms;
	struct vms_progress *progress;
	struct store_thread *thread;
	struct vms_stats *out;
	struct node_map levels[TREE_LEVELS_MAX + 1]; /* [0] is not used */
	struct chunk_map chunks;
	uint8_t buffer[NODE_SIZE_MAX];
};

/* stats_trees.c: levels and chunks from the trees of all snapshots; their
 * data_bytes too. */
int stats_trees(struct stats *stats, const struct vms_snapshot_list *list,
		struct err *err);

#endif
