/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flush: what is pending becomes a table, durably, and only then leaves the
 * memory. If any step fails, all of it is still pending, and the next flush
 * does it again; at worst a table more names the same chunks.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

struct snapshot {
	struct entry *entries;
	size_t count;
	struct bytes packs;
};

static void snapshot_release(struct snapshot *snapshot)
{
	free(snapshot->entries);
	bytes_release(&snapshot->packs);
}

static int snapshot_take(struct index *index, struct snapshot *snapshot,
			 struct err *err)
{
	struct pending *pending = &index->pending;
	size_t n;
	int r;

	pthread_mutex_lock(&index->pending_lock);
	r = alloc_array(&snapshot->entries, pending->added + 1,
			sizeof(struct entry), err);
	if (r == 0)
		r = bytes_append(&snapshot->packs, pending->packs.data,
				 pending->packs.size, err);
	for (n = 0; n < pending->capacity && r == 0; n++) {
		const struct entry *entry = &pending->slots[n];

		if (!id_is_null(&entry->id) &&
		    le32_get(entry->pack) != PENDING_CLAIMED)
			snapshot->entries[snapshot->count++] = *entry;
	}
	pthread_mutex_unlock(&index->pending_lock);
	return r;
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return id_compare(&x->id, &y->id);
}

static int snapshot_write(struct index *index, struct sealer *sealer,
			  struct snapshot *snapshot, struct id *id,
			  struct err *err)
{
	size_t packs = snapshot->packs.size / sizeof(struct table_pack);
	struct table_writer *writer;
	size_t n;
	int64_t r;

	qsort(snapshot->entries, snapshot->count, sizeof(struct entry), by_id);
	r = table_writer_open(&writer, index->backend, &index->store,
			      index->data_key, snapshot->count, err);
	if (r < 0)
		return (int)r;
	for (n = 0; n < packs && r >= 0; n++)
		r = table_writer_add_pack(
			writer,
			(const struct table_pack *)snapshot->packs.data + n,
			err);
	for (n = 0; n < snapshot->count && r >= 0; n++)
		r = table_writer_add(writer, sealer, &snapshot->entries[n],
				     err);
	if (r < 0) {
		table_writer_abort(writer);
		return (int)r;
	}
	return table_writer_finish(writer, sealer, id, err);
}

/* The tables of now and one more. */
static int flush_publish(struct index *index, struct index_table *table,
			 struct err *err)
{
	struct index_tables set;
	struct index_table **larger;
	int r = index_tables_get(index, &set, err);

	if (r == 0) {
		larger = reallocarray(set.tables, set.count + 1,
				      sizeof(*larger));
		if (!larger)
			r = err_set(err, -ENOMEM, "out of memory for tables");
		else
			set.tables = larger;
	}
	if (r < 0) {
		index_tables_put(&set);
		index_table_put(table);
		return r;
	}
	set.tables[set.count++] = table;
	index_publish(index, &set);
	return 0;
}

static int flush_pending(struct index *index, struct sealer *sealer,
			 struct err *err)
{
	struct snapshot snapshot = { 0 };
	struct index_table *table;
	struct id id;
	size_t packs;
	int r;

	r = snapshot_take(index, &snapshot, err);
	if (r < 0 || snapshot.count == 0)
		goto out;
	r = snapshot_write(index, sealer, &snapshot, &id, err);
	if (r == 0)
		r = index_open_written(index, sealer, &id, NULL, &table, err);
	if (r == 0)
		r = flush_publish(index, table, err);
	if (r < 0)
		goto out;
	packs = snapshot.packs.size / sizeof(struct table_pack);
	pthread_mutex_lock(&index->pending_lock);
	/* Without memory for a smaller one the old hash stays, and serves. */
	pending_drop(&index->pending, packs, NULL);
	pthread_mutex_unlock(&index->pending_lock);
out:
	snapshot_release(&snapshot);
	return r;
}

size_t index_waiting(struct index *index)
{
	size_t count;

	pthread_mutex_lock(&index->pending_lock);
	count = index->pending.added;
	pthread_mutex_unlock(&index->pending_lock);
	return count;
}

bool index_wants_flush(struct index *index)
{
	return index_waiting(index) >= INDEX_FLUSH_ENTRIES;
}

int index_flush(struct index *index, struct sealer *sealer, struct err *err)
{
	int r;

	pthread_mutex_lock(&index->flush_lock);
	r = flush_pending(index, sealer, err);
	if (r == 0)
		index_merge(index, sealer);
	pthread_mutex_unlock(&index->flush_lock);
	return r;
}
