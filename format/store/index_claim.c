/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's side of the index: claims, new packs, condemned packs, and which
 * packs this process has counted on. The tables are asked without
 * pending_lock, so threads wait for each other only around a hash; the id is
 * looked for there again before it is put in.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

static int relied_add(struct index *index, const struct id *pack,
		      struct err *err)
{
	int r;

	pthread_mutex_lock(&index->relied_lock);
	r = id_set_add(&index->relied, pack, err);
	pthread_mutex_unlock(&index->relied_lock);
	return r < 0 ? r : 0;
}

bool index_relied_on(struct index *index, const struct id *pack)
{
	bool has;

	pthread_mutex_lock(&index->relied_lock);
	has = id_set_has(&index->relied, pack);
	pthread_mutex_unlock(&index->relied_lock);
	return has;
}

/* 0 taken or there already, 1 claimed now, 2 not there and `insert` unset. */
static int claim_pending(struct index *index, const struct id *id, bool insert,
			 struct err *err)
{
	struct pending *pending = &index->pending;
	const struct id *pack = NULL;
	struct entry *entry;
	int r = 2;

	pthread_mutex_lock(&index->pending_lock);
	entry = pending_find(pending, id);
	if (entry && le32_get(entry->pack) != PENDING_CLAIMED)
		pack = &pending_pack(pending, le32_get(entry->pack))->id;
	if (pack && id_set_has(&index->condemned, pack)) {
		/* Adopted from a pack that is to be deleted: store it anew. */
		entry->pack = le32_make(PENDING_CLAIMED);
		pending->added--;
		r = 1;
	} else if (pack) {
		r = relied_add(index, pack, err);
	} else if (entry) {
		r = 0;
	} else if (insert) {
		r = pending_reserve(pending, 1, err);
		if (r == 0) {
			pending_insert(pending, id);
			r = 1;
		}
	}
	pthread_mutex_unlock(&index->pending_lock);
	return r;
}

/* 0 found and relied on, 2 in no table. */
static int claim_tables(struct index *index, struct sealer *sealer,
			const struct id *id, struct err *err)
{
	size_t n;
	int r;

	for (n = 0; n < index->set.count; n++) {
		struct table *table = index->set.tables[n]->table;
		const struct id *pack;
		struct entry entry;

		r = table_find(table, sealer, id, &entry, err);
		/* What can't be read is not there: it is stored again. */
		if (r == 0 || r == -EBADMSG || r == -ENODATA)
			continue;
		if (r < 0)
			return r;
		pack = &table_pack(table, le32_get(entry.pack))->id;
		if (!id_set_has(&index->condemned, pack))
			return relied_add(index, pack, err);
	}
	return 2;
}

int index_claim(struct index *index, struct sealer *sealer, const struct id *id,
		struct err *err)
{
	unsigned tries;
	int r;

	if (id_is_null(id))
		return err_set(err, -EINVAL, "the null id can't be stored");
	for (tries = 0;; tries++) {
		pthread_rwlock_rdlock(&index->tables_lock);
		r = claim_pending(index, id, false, err);
		if (r == 2)
			r = claim_tables(index, sealer, id, err);
		if (r == 2)
			r = claim_pending(index, id, true, err);
		pthread_rwlock_unlock(&index->tables_lock);
		if (r != -ENOENT || tries == INDEX_RELOADS_MAX)
			return r;
		r = index_load(index, sealer, err);
		if (r < 0)
			return r;
	}
}

int index_limit_claims(struct index *index, size_t max, struct err *err)
{
	struct pending *pending = &index->pending;
	int r = 0;

	pthread_mutex_lock(&index->pending_lock);
	if (pending->used - pending->added >= max)
		r = pending_drop_claims(pending, err);
	pthread_mutex_unlock(&index->pending_lock);
	return r;
}

static int new_pack_check(uint64_t size_bytes, const struct entry *entries,
			  uint32_t count, struct err *err)
{
	uint32_t n;

	if (count < 1 || count > PACK_COUNT_MAX || size_bytes > PACK_SIZE_MAX ||
	    size_bytes < sizeof(struct object_header) + PACK_TAIL_SIZE(count))
		return err_set(err, -EINVAL,
			       "a pack of %llu bytes with %u chunks is not "
			       "possible",
			       (unsigned long long)size_bytes, count);
	for (n = 0; n < count; n++) {
		const char *wrong = entry_wrong(
			&entries[n], size_bytes - PACK_TAIL_SIZE(count));

		if (wrong)
			return err_set(err, -EINVAL,
				       "chunk %u of a new pack: %s", n, wrong);
	}
	return 0;
}

/* The room is there. Was any of them claimed here? Then the pack is ours. */
static bool pending_add_entries(struct pending *pending,
				const struct entry *entries, uint32_t count,
				uint32_t number)
{
	bool ours = false;
	uint32_t n;

	for (n = 0; n < count; n++) {
		struct entry *slot = pending_find(pending, &entries[n].id);

		if (!slot)
			slot = pending_insert(pending, &entries[n].id);
		else if (le32_get(slot->pack) == PENDING_CLAIMED)
			ours = true;
		else
			continue; /* the first copy stays */
		*slot = entries[n];
		slot->pack = le32_make(number);
		pending->added++;
	}
	return ours;
}

static int known_note(struct index *index, const struct id *pack,
		      struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&index->known_lock);
	if (index->known_is_made)
		r = id_set_add(&index->known, pack, err);
	pthread_mutex_unlock(&index->known_lock);
	return r < 0 ? r : 0;
}

int index_add_pack(struct index *index, const struct id *pack,
		   uint64_t size_bytes, const struct entry *entries,
		   uint32_t count, struct err *err)
{
	struct pending *pending = &index->pending;
	const struct table_pack line = {
		.id = *pack,
		.size_bytes = le64_make(size_bytes),
		.count = le32_make(count),
	};
	bool ours = false;
	int r;

	r = new_pack_check(size_bytes, entries, count, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&index->pending_lock);
	r = pending_reserve(pending, count, err);
	if (r == 0)
		r = bytes_append(&pending->packs, &line, sizeof(line), err);
	if (r == 0)
		ours = pending_add_entries(
			pending, entries, count,
			(uint32_t)pending_pack_count(pending) - 1);
	pthread_mutex_unlock(&index->pending_lock);
	/* Others may already have been told that a chunk in it is there. */
	if (r == 0 && ours)
		r = relied_add(index, pack, err);
	if (r == 0)
		r = known_note(index, pack, err);
	return r;
}

int index_set_condemned(struct index *index, const struct id *packs,
			size_t count, struct err *err)
{
	struct id_set set = { 0 }, old;
	size_t n;
	int r;

	for (n = 0; n < count; n++) {
		r = id_set_add(&set, &packs[n], err);
		if (r < 0) {
			id_set_release(&set);
			return r;
		}
	}
	pthread_rwlock_wrlock(&index->tables_lock);
	old = index->condemned;
	index->condemned = set;
	pthread_rwlock_unlock(&index->tables_lock);
	id_set_release(&old);
	return 0;
}
