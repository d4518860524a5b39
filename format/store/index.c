/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: its making, its set of tables, and look-ups. A look-up
 * asks `pending`, then each table; in a first backup nearly all are answered
 * "absent" by the filters, without I/O. A table that vanishes under a look-up
 * was merged by another writer: the tables are listed again and it goes on.
 * A damaged table does not hide a chunk that another table names.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

struct index_table *index_table_new(struct table *table, struct err *err)
{
	struct index_table *out;

	if (alloc_array(&out, 1, sizeof(*out), err) < 0) {
		table_close(table);
		return NULL;
	}
	out->table = table;
	atomic_init(&out->refs, 1);
	return out;
}

void index_table_put(struct index_table *table)
{
	if (!table || atomic_fetch_sub(&table->refs, 1) != 1)
		return;
	table_close(table->table);
	free(table);
}

int index_tables_get(struct index *index, struct index_tables *out,
		     struct err *err)
{
	struct index_tables copy = { 0 };
	int r;

	*out = copy;
	pthread_rwlock_rdlock(&index->tables_lock);
	r = alloc_array(&copy.tables, index->set.count + 1,
			sizeof(*copy.tables), err);
	for (; r == 0 && copy.count < index->set.count; copy.count++) {
		copy.tables[copy.count] = index->set.tables[copy.count];
		atomic_fetch_add(&copy.tables[copy.count]->refs, 1);
	}
	pthread_rwlock_unlock(&index->tables_lock);
	if (r == 0)
		*out = copy;
	return r;
}

void index_tables_put(struct index_tables *set)
{
	size_t n;

	for (n = 0; n < set->count; n++)
		index_table_put(set->tables[n]);
	free(set->tables);
	*set = (struct index_tables){ 0 };
}

void index_publish(struct index *index, struct index_tables *set)
{
	struct index_tables old;

	pthread_rwlock_wrlock(&index->tables_lock);
	old = index->set;
	index->set = *set;
	pthread_rwlock_unlock(&index->tables_lock);
	*set = (struct index_tables){ 0 };
	index_tables_put(&old);
}

static void index_init_locks(struct index *index)
{
	pthread_rwlockattr_t attr;

	/* Else a stream of look-ups keeps a flush from publishing. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&index->tables_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&index->flush_lock, NULL);
	pthread_mutex_init(&index->pending_lock, NULL);
	pthread_mutex_init(&index->relied_lock, NULL);
	pthread_mutex_init(&index->known_lock, NULL);
}

int index_open(struct index **out, const struct index_options *options,
	       struct sealer *sealer, struct err *err)
{
	size_t memory = options->memory_bytes ? options->memory_bytes
					      : INDEX_MEMORY_DEFAULT;
	struct index *index;
	int r;

	r = alloc_array(&index, 1, sizeof(*index), err);
	if (r < 0)
		return r;
	index_init_locks(index);
	index->backend = options->backend;
	index->store = *options->store;
	memcpy(index->data_key, options->data_key, KEY_SIZE);
	index->tolerant = options->tolerant;
	index->damaged = options->damaged;
	index->arg = options->arg;
	index->filters_max_bytes = memory / 4 * 3;
	index->cache = block_cache_new(memory / 4, err);
	r = index->cache ? index_load(index, sealer, err) : -ENOMEM;
	if (r < 0) {
		index_close(index);
		return r;
	}
	*out = index;
	return 0;
}

void index_close(struct index *index)
{
	if (!index)
		return;
	index_tables_put(&index->set);
	pending_release(&index->pending);
	id_set_release(&index->condemned);
	id_set_release(&index->relied);
	id_set_release(&index->known);
	id_set_release(&index->reported);
	bytes_release(&index->hidden);
	block_cache_free(index->cache);
	pthread_rwlock_destroy(&index->tables_lock);
	pthread_mutex_destroy(&index->flush_lock);
	pthread_mutex_destroy(&index->pending_lock);
	pthread_mutex_destroy(&index->relied_lock);
	pthread_mutex_destroy(&index->known_lock);
	wipe(index->data_key, sizeof(index->data_key));
	free(index);
}

/* The copies of a chunk, without doubles, up to the one asked for. */
struct copies {
	struct place *places;
	unsigned count, wanted;
};

static bool copies_add(struct copies *copies, const struct id *pack,
		       const struct entry *entry)
{
	unsigned n;

	for (n = 0; n < copies->count; n++)
		if (id_equal(&copies->places[n].pack, pack) &&
		    le32_get(copies->places[n].entry.offset) ==
			    le32_get(entry->offset))
			return false;
	copies->places[copies->count].pack = *pack;
	copies->places[copies->count].entry = *entry;
	copies->places[copies->count].entry.pack = le32_make(0);
	return ++copies->count == copies->wanted;
}

static bool copies_add_pending(struct index *index, const struct id *id,
			       struct copies *copies)
{
	struct entry *entry;
	bool done = false;

	pthread_mutex_lock(&index->pending_lock);
	entry = pending_find(&index->pending, id);
	if (entry && le32_get(entry->pack) != PENDING_CLAIMED)
		done = copies_add(
			copies,
			&pending_pack(&index->pending, le32_get(entry->pack))
				 ->id,
			entry);
	pthread_mutex_unlock(&index->pending_lock);
	return done;
}

/* With tables_lock held. 1 when all that were wanted are there, else 0, or
 * the first error of a table. */
static int copies_collect(struct index *index, struct sealer *sealer,
			  const struct id *id, struct copies *copies,
			  struct err *err)
{
	int first_error = 0, r;
	size_t n;

	if (copies_add_pending(index, id, copies))
		return 1;
	for (n = 0; n < index->set.count; n++) {
		struct table *table = index->set.tables[n]->table;
		struct entry entry;

		r = table_find(table, sealer, id, &entry,
			       first_error ? NULL : err);
		if (r == -EBADMSG)
			atomic_store(&index->set.tables[n]->has_bad_block,
				     true);
		if (r < 0 && !first_error)
			first_error = r;
		if (r > 0 &&
		    copies_add(copies,
			       &table_pack(table, le32_get(entry.pack))->id,
			       &entry))
			return 1;
	}
	return first_error;
}

#define COPIES_MAX 16u

int index_find_copy(struct index *index, struct sealer *sealer,
		    const struct id *id, unsigned nth, struct place *out,
		    struct err *err)
{
	struct place places[COPIES_MAX];
	unsigned tries;
	int r;

	if (nth >= COPIES_MAX)
		return 0;
	for (tries = 0;; tries++) {
		struct copies copies = { places, 0, nth + 1 };

		pthread_rwlock_rdlock(&index->tables_lock);
		r = copies_collect(index, sealer, id, &copies, err);
		pthread_rwlock_unlock(&index->tables_lock);
		if (r == 1)
			*out = places[nth];
		if (r != -ENOENT || tries == INDEX_RELOADS_MAX)
			return r;
		r = index_load(index, sealer, err);
		if (r < 0)
			return r;
	}
}

int index_find(struct index *index, struct sealer *sealer, const struct id *id,
	       struct place *out, struct err *err)
{
	return index_find_copy(index, sealer, id, 0, out, err);
}

size_t index_table_count(struct index *index)
{
	size_t count;

	pthread_rwlock_rdlock(&index->tables_lock);
	count = index->set.count;
	pthread_rwlock_unlock(&index->tables_lock);
	return count;
}

uint64_t index_entry_count(struct index *index)
{
	uint64_t count = 0;
	size_t n;

	pthread_rwlock_rdlock(&index->tables_lock);
	for (n = 0; n < index->set.count; n++)
		count += table_entries(index->set.tables[n]->table);
	pthread_rwlock_unlock(&index->tables_lock);
	return count;
}
