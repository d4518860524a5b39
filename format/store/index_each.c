/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over everything the index names: packs, entries, checks. They work
 * on a copy of the set of tables, so that no lock is held while the caller
 * is called.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

static int copy_pending_packs(struct index *index, struct bytes *packs,
			      struct err *err)
{
	int r;

	pthread_mutex_lock(&index->pending_lock);
	r = bytes_append(packs, index->pending.packs.data,
			 index->pending.packs.size, err);
	pthread_mutex_unlock(&index->pending_lock);
	return r;
}

/* Each of `count` packs that `seen` does not have. */
static int packs_each(const struct table_pack *packs, size_t count,
		      struct id_set *seen,
		      int (*fn)(void *arg, const struct table_pack *pack),
		      void *arg)
{
	size_t n;
	int r = 0;

	for (n = 0; n < count && r == 0; n++) {
		r = id_set_add(seen, &packs[n].id, NULL);
		if (r > 0)
			r = fn ? fn(arg, &packs[n]) : 0;
	}
	return r;
}

static int packs_walk(struct index *index, struct id_set *seen,
		      int (*fn)(void *arg, const struct table_pack *pack),
		      void *arg)
{
	struct index_tables set;
	struct bytes packs = { 0 };
	size_t n;
	int r;

	/* Pending first: what leaves it meanwhile is in the tables then. */
	r = copy_pending_packs(index, &packs, NULL);
	if (r < 0)
		return r;
	r = index_tables_get(index, &set, NULL);
	for (n = 0; n < set.count && r == 0; n++) {
		const struct table *table = set.tables[n]->table;

		r = packs_each(table_pack(table, 0), table_pack_count(table),
			       seen, fn, arg);
	}
	if (r == 0)
		r = packs_each((const struct table_pack *)packs.data,
			       packs.size / sizeof(struct table_pack), seen, fn,
			       arg);
	index_tables_put(&set);
	bytes_release(&packs);
	return r;
}

int index_packs(struct index *index,
		int (*fn)(void *arg, const struct table_pack *pack), void *arg)
{
	struct id_set seen = { 0 };
	int r = packs_walk(index, &seen, fn, arg);

	id_set_release(&seen);
	return r;
}

int index_packs_in_doubt(struct index *index,
			 int (*fn)(void *arg, const struct table_pack *pack),
			 void *arg)
{
	struct index_tables set;
	struct id_set seen = { 0 };
	int r = index_tables_get(index, &set, NULL);

	for (size_t n = 0; n < set.count && r == 0; n++) {
		const struct table *table = set.tables[n]->table;

		if (atomic_load(&set.tables[n]->has_bad_block))
			r = packs_each(table_pack(table, 0),
				       table_pack_count(table), &seen, fn, arg);
	}
	index_tables_put(&set);
	id_set_release(&seen);
	return r;
}

static int equals(void *arg, const struct table_pack *pack)
{
	return id_equal(arg, &pack->id);
}

bool index_names_pack(struct index *index, const struct id *pack)
{
	bool has;

	pthread_mutex_lock(&index->known_lock);
	if (!index->known_is_made) {
		id_set_release(&index->known);
		index->known_is_made =
			packs_walk(index, &index->known, NULL, NULL) == 0;
	}
	has = index->known_is_made && id_set_has(&index->known, pack);
	if (!index->known_is_made) {
		struct id wanted = *pack;

		has = index_packs(index, equals, &wanted) == 1;
	}
	pthread_mutex_unlock(&index->known_lock);
	return has;
}

int index_check_tables(struct index *index, struct sealer *sealer,
		       void (*fn)(void *arg, const char *name,
				  const struct err *why),
		       void *arg, struct err *err)
{
	struct index_tables set;
	int wrong = 0, r;
	struct err why;
	size_t n;

	r = index_tables_get(index, &set, err);
	for (n = 0; n < set.count && r == 0; n++) {
		int found = table_check(set.tables[n]->table, sealer, &why);

		if (found == -ENOMEM)
			r = err_set(err, found, "%s", why.text);
		/* -ENOENT: merged meanwhile; what replaces it is a new one. */
		if (found == 0 || found == -ENOMEM || found == -ENOENT)
			continue;
		why.code = found;
		wrong++;
		fn(arg, set.tables[n]->table->name, &why);
	}
	index_tables_put(&set);
	return r < 0 ? r : wrong;
}

typedef int each_fn(void *arg, const struct id *pack, const struct entry *entry,
		    struct err *err);

/* *stopped: the result is the caller's own. */
static int each_entry(struct table *table, struct sealer *sealer, each_fn *fn,
		      void *arg, bool *stopped, struct err *err)
{
	struct table_stream *stream;
	struct entry entry;
	int r = table_stream_open(&stream, table, err);

	if (r < 0)
		return r;
	while ((r = table_stream_next(stream, sealer, &entry, err)) > 0) {
		r = fn(arg, &table_pack(table, le32_get(entry.pack))->id,
		       &entry, err);
		if (r) {
			*stopped = true;
			break;
		}
	}
	table_stream_close(stream);
	return r;
}

static int each_skip(struct index *index, const struct table *table,
		     struct err *why)
{
	why->code = -EBADMSG;
	if (index->damaged)
		index->damaged(index->arg, table->name, why);
	return 0;
}

int index_each(struct index *index, struct sealer *sealer, each_fn *fn,
	       void *arg, struct err *err)
{
	struct index_tables set;
	struct err why = { 0 };
	unsigned tries = 0;
	bool stopped = false;
	size_t n;
	int r;

	/* A table that was merged away: all anew; ids may come twice. */
	for (;;) {
		r = index_tables_get(index, &set, err);
		for (n = 0; n < set.count && r == 0; n++) {
			r = each_entry(set.tables[n]->table, sealer, fn, arg,
				       &stopped, &why);
			if (r == -EBADMSG && !stopped)
				r = each_skip(index, set.tables[n]->table,
					      &why);
			if (r && err)
				*err = why;
		}
		index_tables_put(&set);
		if (r != -ENOENT || stopped || ++tries > INDEX_RELOADS_MAX)
			return r;
		r = index_load(index, sealer, err);
		if (r < 0)
			return r;
	}
}
