/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mount shows: DIR/NAME/LABEL-or-time/DISK.raw, as a tree of nodes
 * that follows the store. Nodes are never freed before the end, as the kernel
 * may name them at any time; one whose snapshot has gone is marked so.
 */
#ifndef FUSE_CATALOG_H
#define FUSE_CATALOG_H

#include "fuse/written.h"

enum node_kind {
	NODE_ROOT,
	NODE_NAME,     /* a directory for each name */
	NODE_SNAPSHOT, /* a directory of disks */
	NODE_DISK,
};

/* Fixed once made, but for what stands under "by the lock". */
struct node {
	uint64_t number; /* as an inode; the root is 1 */
	enum node_kind kind;
	char *name;
	struct node *parent;
	struct volume volume; /* NODE_DISK; owns nothing */
	/* NODE_DISK: once it was written to, for as long as the mount. */
	_Atomic(struct written *) written;
	/* NODE_DISK: how much is data, and one more; 0: not counted yet. */
	_Atomic uint64_t data_bytes;

	/* By the lock. */
	int64_t time_ns; /* of the latest snapshot in it */
	bool is_gone;
	struct node **children;
	size_t child_count;
	struct vms_reader *reader; /* NODE_DISK, while it is open */
	unsigned opens;
};

struct catalog;

typedef void catalog_warn_fn(const char *text);

/* Takes neither over. Reads the store for the first time. */
int catalog_new(struct catalog **out, struct vms *vms, struct vms_cache *cache,
		catalog_warn_fn *warn, struct err *err);
void catalog_free(struct catalog *catalog); /* NULL is ignored */

/* All of these from any thread. */

/* Follow the store, if that is a second ago. What can't be read stays. */
void catalog_refresh(struct catalog *catalog);
/* NULL when there is none; gone ones too. */
struct node *catalog_node(struct catalog *catalog, uint64_t number);
struct node *catalog_lookup(struct catalog *catalog, uint64_t parent,
			    const char *name);
bool catalog_is_gone(struct catalog *catalog, const struct node *node);
int64_t catalog_time(struct catalog *catalog, const struct node *node);
/* The children now; free() it. */
int catalog_children(struct catalog *catalog, struct node *node,
		     struct node ***out, size_t *count, struct err *err);
/* node->reader is there until as many closes. */
int catalog_open_disk(struct catalog *catalog, struct node *node,
		      struct err *err);
void catalog_close_disk(struct catalog *catalog, struct node *node);
/* Count its data, if that was not done yet: reads its tree. */
void catalog_count_data(struct catalog *catalog, struct node *node);
/* Bytes that are data, as far as is known: no less than there are. */
uint64_t node_data_bytes(const struct node *node);
/* The disk's written, made if it has none. -EMFILE: as many have one as may. */
int catalog_written(struct catalog *catalog, struct node *node,
		    struct written **out, struct err *err);
static inline struct written *node_written(const struct node *node)
{
	return atomic_load_explicit(&node->written, memory_order_acquire);
}

struct catalog_totals {
	uint64_t disk_bytes, nodes;
};
void catalog_totals(struct catalog *catalog, struct catalog_totals *out);

#endif
