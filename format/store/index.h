/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All tables of a store, and the chunks that this process has put and that
 * no table names yet. Any thread, each with its own sealer.
 *
 * Memory is bounded whatever the store's size: filters and cached blocks by
 * `memory_bytes`, new chunks by flushing a table when there are many.
 */
#ifndef FORMAT_STORE_INDEX_H
#define FORMAT_STORE_INDEX_H

#include "format/store/table.h"

#define INDEX_MEMORY_DEFAULT (96u << 20)

/* Where a chunk lies. */
struct place {
	struct id pack;
	struct entry entry; /* its pack number means nothing here */
};

struct index;

struct index_options {
	struct backend *backend;
	const struct store_id *store;
	const uint8_t *data_key;
	size_t memory_bytes; /* 0: the default */
	bool tolerant;       /* skip also tables that can't be read, or are
				too new; for check */
	/* Told of each table that was skipped, since it is damaged or for the
	 * above: what it names is not found. May be NULL. */
	void (*damaged)(void *arg, const char *name, const struct err *why);
	void *arg;
};

/* Open all live tables. A table that vanishes between list and open (merged
 * by another writer) makes it list again. */
int index_open(struct index **out, const struct index_options *options,
	       struct sealer *sealer, struct err *err);
void index_close(struct index *index);
/* List the tables anew: what other processes have written since is found
 * then. Look-ups may go on meanwhile. */
int index_load(struct index *index, struct sealer *sealer, struct err *err);

/* 1 found, 0 absent. A condemned pack's chunks are found too: readers may
 * use them. Chunks only claimed, not yet added, are not found. */
int index_find(struct index *index, struct sealer *sealer, const struct id *id,
	       struct place *out, struct err *err);
/* The `nth` (from 0) copy of a chunk over all tables; 0 when there is none. */
int index_find_copy(struct index *index, struct sealer *sealer,
		    const struct id *id, unsigned nth, struct place *out,
		    struct err *err);

/*
 * Does the store have it, for a writer? 0: yes, in a pack that is not
 * condemned, or another thread of this process has claimed it. 1: no, and it is
 * now claimed by the caller, who must store it (or fail the whole run).
 */
int index_claim(struct index *index, struct sealer *sealer, const struct id *id,
		struct err *err);

/* For a run that stores nothing: once there are `max` claims, all are forgotten,
 * so that memory does not grow with what is looked at. What comes once more
 * is then claimed once more. */
int index_limit_claims(struct index *index, size_t max, struct err *err);

/*
 * A pack of this process that is durable now: its chunks become findable, and the
 * next table names it. `entries` are copied.
 */
int index_add_pack(struct index *index, const struct id *pack,
		   uint64_t size_bytes, const struct entry *entries,
		   uint32_t count, struct err *err);

/* Packs that a writer must not count on. Replaces the earlier set. */
int index_set_condemned(struct index *index, const struct id *packs,
			size_t count, struct err *err);
/* Was any chunk answered as present from one of these packs? */
bool index_relied_on(struct index *index, const struct id *pack);

/* Is the pack named by any table, or added? */
bool index_names_pack(struct index *index, const struct id *pack);
/* Each pack known, once; non-zero stops. */
int index_packs(struct index *index,
		int (*fn)(void *arg, const struct table_pack *pack), void *arg);

/* Each pack that is named by a table in which a look-up has met a damaged
 * block; non-zero stops. */
int index_packs_in_doubt(struct index *index,
			 int (*fn)(void *arg, const struct table_pack *pack),
			 void *arg);

/* More new entries than should wait in memory? Then index_flush(). */
bool index_wants_flush(struct index *index);
/* How many wait. */
size_t index_waiting(struct index *index);
/* Write a table of all packs added since the last flush, durably; none: no
 * table. Then merge small tables by size tiers, and delete what was replaced. */
int index_flush(struct index *index, struct sealer *sealer, struct err *err);

/* For check and stats. */
size_t index_table_count(struct index *index);
uint64_t index_entry_count(struct index *index); /* over all tables */
/* Every rule of each table; `fn` is told of each wrong one. Returns how many
 * are wrong, or -errno. */
int index_check_tables(struct index *index, struct sealer *sealer,
		       void (*fn)(void *arg, const char *name,
				  const struct err *why),
		       void *arg, struct err *err);
/* All entries of all tables, table by table (an id may come more than
 * once), with the pack; non-zero stops. */
int index_each(struct index *index, struct sealer *sealer,
	       int (*fn)(void *arg, const struct id *pack,
			 const struct entry *entry, struct err *err),
	       void *arg, struct err *err);

#endif
