/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a check share. Private to check*.c. */
#ifndef VMSNAP_CHECK_H
#define VMSNAP_CHECK_H

#include <pthread.h>

#include "format/store/id_set.h"
#include "vmsnap/engine.h"
#include "vmsnap/print_set.h"

#define CHECK_RANGES_MAX 10000u /* an error */
#define NO_ERROR         UINT32_MAX

/* An id (of a chunk or of a pack) that an error is to blame for. */
struct blame {
	struct id id; /* the null id: free */
	uint32_t error;
	uint8_t kind;   /* enum chunk_kind */
	bool is_final;  /* no need to try to read it */
	bool is_spared; /* it can be read after all: another copy is good */
};

/* Open addressing; zeroed is empty. Grows with the damage. */
struct blame_map {
	struct blame *slots;
	size_t capacity, count;
};
/* The first error to be blamed keeps it. */
int blame_add(struct blame_map *map, const struct id *id, uint32_t error,
	      enum chunk_kind kind, bool is_final, struct err *err);
struct blame *blame_find(const struct blame_map *map, const struct id *id);
void blame_release(struct blame_map *map);

struct check {
	struct vms *vms;
	const struct vms_check *how;
	struct vms_progress *progress;
	struct store_thread *thread; /* of the calling thread */
	/* What is walked. Listed before the tables, so that what others put
	 * into the store meanwhile is either found in full or left alone. */
	struct snapshot_list snapshots;
	char (*pins)[SMALL_ID_HEX_SIZE];
	size_t pin_count;

	pthread_mutex_t lock; /* while workers run: all below */
	struct vms_check_result result;
	size_t error_capacity;
	struct id_set held;      /* packs looked at since tables name them */
	struct blame_map packs;  /* broken ones */
	struct blame_map chunks; /* that may be lost */
	struct print_set placed; /* (pack, entry) of all directories */
	struct print_set stray;  /* ids in packs that no table names */

	struct print_set indexed; /* (id, size); marked: referenced */
	struct id_set nodes;      /* walked */
	uint32_t missing_error;   /* told of chunks that no table names */
	uint64_t missing, missing_stray;
};

/* Is this the failure of the check itself, not of what it looks at? */
bool check_is_fatal(int r);
/* A new error; *number (may be NULL) is its place in the list. */
int check_error(struct check *check, const char *object, const struct err *why,
		uint32_t *number, struct err *err);
/* Unless one with this object stands there. */
int check_error_once(struct check *check, const char *object,
		     const struct err *why, struct err *err);
void chunk_object(char name[OBJECT_NAME_MAX], const struct id *id);
/* The snapshot's and disk's place in the error; ranges follow from it. */
int check_error_hurts(struct check *check, uint32_t number,
		      const struct id *snapshot, const char *name,
		      const char *disk, struct vms_hurt **out, struct err *err);

/* What a chunk or an entry is in a print_set. */
uint64_t print_of_entry(const struct id *pack, const struct entry *entry);
uint64_t print_of_chunk(const struct id *id, enum chunk_kind kind,
			uint32_t content_size);
uint64_t print_of_id(const struct id *id);

/* The parts, in this order. */
int check_list_roots(struct check *check, struct err *err); /* check_trees.c */
int check_packs(struct check *check, struct err *err);      /* check_packs.c */
int check_entries(struct check *check, struct err *err); /* check_entries.c */
int check_trees(struct check *check, struct err *err);   /* check_trees.c */
int check_hurt(struct check *check, struct err *err);    /* check_hurt.c */

/* check_pack_data.c: one worker's, and one pack. `directory` holds `count`
 * entries. */
struct pack_data;
int pack_data_new(struct pack_data **out, struct check *check, struct err *err);
void pack_data_free(struct pack_data *data);
int pack_data_check(struct pack_data *data, const struct id *pack,
		    const struct entry *directory, uint32_t count,
		    struct err *err);

/* What keeps chunks alive: a snapshot, or a pin. */
struct root {
	struct id snapshot;
	const char *name;
	const struct volume *volumes;
	size_t volume_count;
};
typedef int root_fn(void *arg, const struct root *root, struct err *err);
/* Each of those listed that can be read; one is held at a time. With `tell`,
 * the others become errors, and snapshots are counted. */
int check_each_root(struct check *check, bool tell, root_fn *fn, void *arg,
		    struct err *err);

/* A node that is walked once; false: it touches the end of its volume, where the
 * same node may be right in one volume and wrong in another. */
bool node_key(const struct volume *volume, unsigned level,
	      const struct id *node, uint64_t first, uint64_t count,
	      struct id *key);

#endif
