/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the index share.
 *
 * Lock order: flush_lock, known_lock, tables_lock, pending_lock,
 * relied_lock. A look-up holds tables_lock shared; the set of tables is changed
 * only by who holds flush_lock and, for the moment of the change, tables_lock
 * exclusively. New entries leave `pending` only after the table that names
 * them is in the set, so a look-up (pending first, then the tables, under one
 * hold of tables_lock) never misses one in between.
 */
#ifndef FORMAT_STORE_INDEX_PRIVATE_H
#define FORMAT_STORE_INDEX_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "format/store/id_set.h"
#include "format/store/index.h"
#include "format/store/table_private.h"

#define INDEX_FLUSH_ENTRIES (256u << 10)
#define INDEX_RELOADS_MAX   10u

struct index_table {
	struct table *table;
	atomic_uint refs;
	bool unmergeable;          /* can't be read through; by flush_lock */
	atomic_bool has_bad_block; /* met by a look-up */
};

struct index_tables {
	struct index_table **tables;
	size_t count;
};

/* Chunks claimed or stored by this process that no table names yet. */
struct pending {
	struct entry *slots;   /* open addressing; the null id: free */
	size_t capacity, used; /* capacity: 0 or a power of two */
	size_t added;          /* of those used: in a durable pack */
	struct bytes packs;    /* struct table_pack each */
};
#define PENDING_CLAIMED UINT32_MAX /* as an entry's pack number */

struct index {
	struct backend *backend;
	struct store_id store;
	uint8_t data_key[KEY_SIZE];
	bool tolerant;
	void (*damaged)(void *arg, const char *name, const struct err *why);
	void *arg;
	size_t filters_max_bytes;
	struct block_cache *cache;

	pthread_mutex_t flush_lock;
	struct bytes hidden;    /* ids of tables present and replaced */
	struct id_set reported; /* damaged tables that were told of */

	pthread_rwlock_t tables_lock;
	struct index_tables set;
	struct id_set condemned;

	pthread_mutex_t pending_lock;
	struct pending pending;

	pthread_mutex_t relied_lock;
	struct id_set relied;

	pthread_mutex_t known_lock;
	struct id_set known; /* packs named; made when first asked for */
	bool known_is_made;
};

/* pending: the caller holds pending_lock. */
struct entry *pending_find(struct pending *pending, const struct id *id);
int pending_reserve(struct pending *pending, size_t more, struct err *err);
/* Room was reserved and the id is not there. */
struct entry *pending_insert(struct pending *pending, const struct id *id);
/* Forget what lies in the first `packs` packs. */
int pending_drop(struct pending *pending, size_t packs, struct err *err);
/* Forget what is only claimed. */
int pending_drop_claims(struct pending *pending, struct err *err);
void pending_release(struct pending *pending);
static inline size_t pending_pack_count(const struct pending *pending)
{
	return pending->packs.size / sizeof(struct table_pack);
}
static inline const struct table_pack *pending_pack(
	const struct pending *pending, uint32_t n)
{
	return (const struct table_pack *)pending->packs.data + n;
}

/* Take over `table`; NULL (and the table closed) when out of memory. */
struct index_table *index_table_new(struct table *table, struct err *err);
void index_table_put(struct index_table *table);
/* A copy of the set that keeps its tables open. */
int index_tables_get(struct index *index, struct index_tables *out,
		     struct err *err);
void index_tables_put(struct index_tables *set);
/* Replace the set; takes `set` over. The caller holds flush_lock. */
void index_publish(struct index *index, struct index_tables *set);

/* index_load() for who holds flush_lock. */
int index_load_locked(struct index *index, struct sealer *sealer,
		      struct err *err);
/* Open a table that this process just wrote; its filter comes into memory if there
 * is room without the `without` tables, which it replaces. */
int index_open_written(struct index *index, struct sealer *sealer,
		       const struct id *id, const struct index_tables *without,
		       struct index_table **out, struct err *err);

/* Merge by size tiers; the caller holds flush_lock. Never fails: what can't
 * be merged stays as it is. */
void index_merge(struct index *index, struct sealer *sealer);
/* Write one table from `from` and put it in their place. *bad: the table that
 * could not be read, if it was that. */
int index_merge_tables(struct index *index, struct sealer *sealer,
		       const struct index_tables *from,
		       struct index_table **bad, struct err *err);

#endif
