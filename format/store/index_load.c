/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of live tables: list, open what is new, hide what is replaced. Other
 * writers merge meanwhile, so a table may vanish between the listing and its
 * opening; then what replaces it is in the next listing. A failure counts
 * only for a table that is not replaced, so all are opened before one is
 * complained about. A damaged one is told and passed over: the packs that it
 * names say themselves what they hold. Filters come last, the small tables' first: each table
 * without a filter in memory costs a read a look-up, whatever its size.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

struct candidate {
	struct id id;
	struct index_table *table; /* NULL: failed, and `why` says so */
	struct err *why;
};

struct loading {
	struct index *index;
	struct bytes listed; /* struct id each */
	struct candidate *candidates;
	size_t count;
};

static int load_note(void *arg, const char *leaf, struct err *err)
{
	struct loading *loading = arg;
	struct id id;

	if (hex_decode(id.b, ID_SIZE, leaf, strlen(leaf)) < 0)
		return 0; /* a backend's temporary, or none of ours */
	return bytes_append(&loading->listed, &id, sizeof(id), err);
}

static void loading_release(struct loading *loading)
{
	size_t n;

	for (n = 0; n < loading->count; n++) {
		index_table_put(loading->candidates[n].table);
		free(loading->candidates[n].why);
	}
	free(loading->candidates);
	bytes_release(&loading->listed);
}

static struct index_table *find_open(const struct index *index,
				     const struct id *id)
{
	size_t n;

	for (n = 0; n < index->set.count; n++)
		if (id_equal(table_id(index->set.tables[n]->table), id))
			return index->set.tables[n];
	return NULL;
}

static int candidate_open(struct index *index, struct sealer *sealer,
			  struct candidate *candidate, struct err *err)
{
	const struct table_open how = {
		.backend = index->backend,
		.cache = index->cache,
		.store = &index->store,
		.data_key = index->data_key,
	};
	struct table *table;
	int r;

	candidate->table = find_open(index, &candidate->id);
	if (candidate->table) {
		atomic_fetch_add(&candidate->table->refs, 1);
		return 0;
	}
	r = alloc_array(&candidate->why, 1, sizeof(*candidate->why), err);
	if (r < 0)
		return r;
	r = table_open(&table, &how, sealer, &candidate->id, candidate->why);
	if (r < 0) {
		candidate->why->code = r;
		return 0;
	}
	candidate->table = index_table_new(table, err);
	return candidate->table ? 0 : -ENOMEM;
}

static int load_open_all(struct loading *loading, struct sealer *sealer,
			 struct err *err)
{
	const struct id *ids = (const struct id *)loading->listed.data;
	size_t count = loading->listed.size / sizeof(*ids);
	int r;

	r = alloc_array(&loading->candidates, count + 1,
			sizeof(*loading->candidates), err);
	while (r == 0 && loading->count < count) {
		struct candidate *candidate =
			&loading->candidates[loading->count];

		candidate->id = ids[loading->count++];
		r = candidate_open(loading->index, sealer, candidate, err);
	}
	return r;
}

static int load_replaced(const struct loading *loading, struct id_set *replaced,
			 struct err *err)
{
	const struct id *ids;
	size_t n, k, count;
	int r = 0;

	for (n = 0; n < loading->count; n++) {
		if (!loading->candidates[n].table)
			continue;
		count = table_replaces(loading->candidates[n].table->table,
				       &ids);
		for (k = 0; k < count && r >= 0; k++)
			r = id_set_add(replaced, &ids[k], err);
	}
	return r < 0 ? r : 0;
}

/* Told of once, or fatal. */
static int load_damaged(struct index *index, const struct id *id,
			const struct err *why, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	int r;

	if (why->code == -ENOMEM || (!index->tolerant && why->code != -EBADMSG))
		return err_set(err, why->code, "%s", why->text);
	r = id_set_add(&index->reported, id, err);
	if (r > 0 && index->damaged) {
		table_name(name, id);
		index->damaged(index->arg, name, why);
	}
	return r < 0 ? r : 0;
}

/* Fill `set` with what is live; -ENOENT: list again. */
static int load_pick(struct loading *loading, const struct id_set *replaced,
		     struct index_tables *set, struct err *err)
{
	struct index *index = loading->index;
	size_t n;
	int r;

	r = alloc_array(&set->tables, loading->count + 1, sizeof(*set->tables),
			err);
	index->hidden.size = 0;
	for (n = 0; n < loading->count && r == 0; n++) {
		struct candidate *candidate = &loading->candidates[n];

		if (id_set_has(replaced, &candidate->id))
			r = bytes_append(&index->hidden, &candidate->id,
					 ID_SIZE, err);
		else if (candidate->table)
			set->tables[set->count++] =
				ptr_steal(&candidate->table);
		else if (candidate->why->code == -ENOENT)
			r = err_set(err, -ENOENT, "%s", candidate->why->text);
		else
			r = load_damaged(index, &candidate->id, candidate->why,
					 err);
	}
	return r;
}

static int by_entries(const void *a, const void *b)
{
	const struct index_table *const *x = a, *const *y = b;
	uint64_t p = table_entries((*x)->table), q = table_entries((*y)->table);

	if (p != q)
		return p < q ? -1 : 1;
	return id_compare(table_id((*x)->table), table_id((*y)->table));
}

/* A table that look-ups already see keeps what it has: its filter is loaded
 * only here, before it is published. */
static int load_filters(struct index *index, struct sealer *sealer,
			struct index_tables *set, struct err *err)
{
	size_t used = 0, n;
	struct err why;
	int r;

	qsort(set->tables, set->count, sizeof(struct index_table *),
	      by_entries);
	for (n = 0; n < set->count; n++)
		used += table_filter_bytes(set->tables[n]->table);
	for (n = 0; n < set->count; n++) {
		struct table *table = set->tables[n]->table;
		size_t size = table_filter_size(table);

		if (table->filter || find_open(index, &table->id))
			continue;
		if (size > index->filters_max_bytes ||
		    used > index->filters_max_bytes - size)
			continue;
		r = table_load_filter(table, sealer, &why);
		if (r == 0) {
			used += size;
			continue;
		}
		if (r == -ENOENT)
			return err_set(err, r, "%s", why.text);
		why.code = r;
		r = load_damaged(index, &table->id, &why, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_once(struct index *index, struct sealer *sealer,
		     struct err *err)
{
	struct loading loading = { .index = index };
	struct index_tables set = { 0 };
	struct id_set replaced = { 0 };
	int r;

	r = backend_list(index->backend, object_folder(OBJECT_TABLE), load_note,
			 &loading, err);
	if (r == 0)
		r = load_open_all(&loading, sealer, err);
	if (r == 0)
		r = load_replaced(&loading, &replaced, err);
	if (r == 0)
		r = load_pick(&loading, &replaced, &set, err);
	if (r == 0)
		r = load_filters(index, sealer, &set, err);
	if (r == 0)
		index_publish(index, &set);
	index_tables_put(&set);
	loading_release(&loading);
	id_set_release(&replaced);
	return r;
}

int index_load_locked(struct index *index, struct sealer *sealer,
		      struct err *err)
{
	unsigned tries = 0;
	int r;

	do
		r = load_once(index, sealer, err);
	while (r == -ENOENT && ++tries < INDEX_RELOADS_MAX);
	if (r < 0)
		return r;
	pthread_mutex_lock(&index->known_lock);
	id_set_release(&index->known);
	index->known_is_made = false;
	pthread_mutex_unlock(&index->known_lock);
	return 0;
}

int index_load(struct index *index, struct sealer *sealer, struct err *err)
{
	int r;

	pthread_mutex_lock(&index->flush_lock);
	r = index_load_locked(index, sealer, err);
	pthread_mutex_unlock(&index->flush_lock);
	return r;
}

static bool set_has(const struct index_tables *set,
		    const struct index_table *table)
{
	size_t n;

	for (n = 0; n < set->count; n++)
		if (set->tables[n] == table)
			return true;
	return false;
}

int index_open_written(struct index *index, struct sealer *sealer,
		       const struct id *id, const struct index_tables *without,
		       struct index_table **out, struct err *err)
{
	struct table_open how = {
		.backend = index->backend,
		.cache = index->cache,
		.store = &index->store,
		.data_key = index->data_key,
	};
	size_t used = 0, n;
	struct table *table;
	int r;

	for (n = 0; n < index->set.count; n++)
		if (!without || !set_has(without, index->set.tables[n]))
			used += table_filter_bytes(index->set.tables[n]->table);
	if (used < index->filters_max_bytes)
		how.filter_budget_bytes = index->filters_max_bytes - used;
	r = table_open(&table, &how, sealer, id, err);
	if (r < 0)
		return r;
	*out = index_table_new(table, err);
	return *out ? 0 : -ENOMEM;
}
