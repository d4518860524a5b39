/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a writer looks at before it relies on the store: the condemned lists,
 * and packs that no table names (whose writer died, or has not come to its
 * table yet). Those are taken as if a table named them; one that can't be read
 * is left alone: it is no backup's business. A condemned list that can't be read
 * is an error, since to ignore it might lose data. And packs that are gone though a
 * table names them: what they held must be stored again.
 *
 * A reader takes stray packs in only where a table is damaged, in memory.
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

#define ADOPT_WAITING_MAX (1u << 20) /* chunks: some 100 MiB of memory */

static int add_leaf(void *arg, const char *leaf, struct err *err)
{
	struct id_list *list = arg;
	struct id id;

	if (hex_decode(id.b, ID_SIZE, leaf, strlen(leaf)) < 0)
		return 0;
	return id_list_add(list, &id, err);
}

struct names {
	char (*hex)[SMALL_ID_HEX_SIZE];
	size_t count;
};

static int add_small(void *arg, const char *leaf, struct err *err)
{
	struct names *names = arg;
	void *grown;

	if (!store_leaf_is_hex(leaf, SMALL_ID_SIZE))
		return 0;
	grown = reallocarray(names->hex, names->count + 1, sizeof(*names->hex));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	names->hex = grown;
	memcpy(names->hex[names->count++], leaf, SMALL_ID_HEX_SIZE);
	return 0;
}

static int read_list(struct store *store, struct sealer *sealer,
		     const char *name, struct id_list *into, struct err *err)
{
	struct condemned condemned;
	struct bytes plain = { 0 };
	int r;

	r = store_get_object(store, sealer, OBJECT_CONDEMNED, name, &plain,
			     err);
	if (r == 0)
		r = condemned_decode(plain.data, plain.size, name, &condemned,
				     err);
	bytes_release(&plain);
	if (r < 0)
		return r;
	for (size_t n = 0; n < condemned.pack_count && r == 0; n++)
		r = id_list_add(into, &condemned.packs[n], err);
	condemned_release(&condemned);
	return r;
}

int store_read_condemned(struct store *store, struct sealer *sealer,
			 struct id **packs, size_t *count, struct err *err)
{
	struct id_list list = { 0 };
	struct names names = { 0 };
	char name[OBJECT_NAME_MAX];
	struct err why;
	int r;

	r = backend_list(store->backend, object_folder(OBJECT_CONDEMNED),
			 add_small, &names, err);
	for (size_t n = 0; n < names.count && r == 0; n++) {
		snprintf(name, sizeof(name), "%s/%s",
			 object_folder(OBJECT_CONDEMNED), names.hex[n]);
		r = read_list(store, sealer, name, &list, &why);
		/* Its packs are gone, and then it went itself. */
		if (r == -ENOENT)
			r = 0;
		else if (r == -EBADMSG && store->tolerant)
			r = store_note_damage(store, name, &why, err);
		else if (r < 0)
			err_set(err, r, "%s", why.text);
	}
	free(names.hex);
	if (r < 0) {
		free(list.ids);
		return r;
	}
	*packs = list.ids;
	*count = list.count;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	return id_compare(a, b);
}

static bool has(const struct id_list *sorted, const struct id *id)
{
	return sorted->count && bsearch(id, sorted->ids, sorted->count,
					sizeof(*sorted->ids), compare_ids);
}

static int adopt_pack(struct store *store, struct sealer *sealer,
		      const struct id *id, struct err *err)
{
	struct bytes directory = { 0 };
	struct pack_info info;
	struct err why;
	int r;

	r = pack_read_directory(store->backend, sealer, &store->config.store,
				store->masters.data_key, id, &info, &directory,
				&why);
	if (r == 0) {
		r = index_add_pack(store->index, id, info.size_bytes,
				   (const struct entry *)directory.data,
				   info.count, err);
		store->adopted = true;
		store->adopted_folder[id->b[0]] = true;
	} else if (r == -ENOMEM) {
		err_set(err, r, "%s", why.text);
	} else {
		r = 0;
	}
	bytes_release(&directory);
	return r;
}

/* ---- for readers: a table with a damaged block ---- */

struct asking {
	struct store *store;
	struct sealer *sealer;
	bool full;
};

/* Of a pack's entries those that no table can tell any more. */
static uint32_t keep_unknown(struct asking *asking, struct entry *entries,
			     uint32_t count)
{
	struct place place;
	uint32_t kept = 0;

	for (uint32_t n = 0; n < count; n++) {
		if (index_find(asking->store->index, asking->sealer,
			       &entries[n].id, &place, NULL) == -EBADMSG)
			entries[kept++] = entries[n];
	}
	return kept;
}

static int ask_pack(void *arg, const struct table_pack *pack)
{
	struct asking *asking = arg;
	struct store *store = asking->store;
	struct bytes directory = { 0 };
	struct entry *entries;
	struct pack_info info;
	uint32_t count;

	asking->full = index_waiting(store->index) >= ADOPT_WAITING_MAX;
	if (asking->full)
		return 1;
	if (pack_read_directory(store->backend, asking->sealer,
				&store->config.store, store->masters.data_key,
				&pack->id, &info, &directory, NULL) == 0) {
		entries = (struct entry *)directory.data;
		count = keep_unknown(asking, entries, info.count);
		if (count)
			index_add_pack(store->index, &pack->id, info.size_bytes,
				       entries, count, NULL);
	}
	bytes_release(&directory);
	return 0;
}

void store_ask_packs(struct store *store, struct sealer *sealer,
		     const struct err *why)
{
	struct asking asking = { .store = store, .sealer = sealer };

	pthread_mutex_lock(&store->mend_lock);
	if (!store->mended) {
		store_warn(store,
			   "%s: the packs that this table names are asked "
			   "instead; run vmsnap check to learn what is damaged",
			   why->text);
		index_packs_in_doubt(store->index, ask_pack, &asking);
		if (asking.full)
			store_warn(store, "too much of it is damaged: not all "
					  "packs were asked");
	}
	store->mended = true;
	pthread_mutex_unlock(&store->mend_lock);
}

/* ---- the whole ---- */

/* In a store that can't be written to, what is adopted stays in memory. */
static int adopt_room(struct store *store, struct sealer *sealer, bool *full,
		      struct err *err)
{
	if (store->mode == STORE_WRITE) {
		if (index_wants_flush(store->index))
			return store_flush_index(store, sealer, err);
		return 0;
	}
	*full = index_waiting(store->index) >= ADOPT_WAITING_MAX;
	if (*full)
		store_warn(store,
			   "too many packs that no table names: not all of "
			   "them are looked at; a backup takes them in again");
	return 0;
}

/* `packs` and `absent` are sorted. */
static int adopt_all(struct store *store, struct sealer *sealer,
		     const struct id_list *packs, const struct id_list *absent,
		     struct err *err)
{
	bool full = false;
	int r = 0;

	for (size_t n = 0; n < packs->count && r == 0 && !full; n++) {
		const struct id *id = &packs->ids[n];

		/* A table that named a condemned pack would outlive it. */
		if (index_names_pack(store->index, id) || has(absent, id))
			continue;
		r = adopt_pack(store, sealer, id, err);
		if (r == 0)
			r = adopt_room(store, sealer, &full, err);
	}
	return r;
}

struct search {
	struct store *store;
	const struct id_list *packs; /* that are there; sorted */
	struct id_list missing;
	uint64_t named;
	struct err *err;
};

static int search_one(void *arg, const struct table_pack *pack)
{
	struct search *search = arg;
	char name[OBJECT_NAME_MAX];
	uint64_t size;

	search->named++;
	if (has(search->packs, &pack->id))
		return 0;
	/* Not every file system lists all while others add to it. */
	pack_name(name, &pack->id);
	if (backend_size(search->store->backend, name, &size, NULL) != -ENOENT)
		return 0;
	return id_list_add(&search->missing, &pack->id, search->err);
}

/*
 * Packs that tables name and that are not there: what they held is to be
 * stored again, and not to be counted on by one more snapshot. But where all are
 * missing, it is rather the store that is not there.
 */
static int find_missing(struct store *store, const struct id_list *packs,
			struct id_list *absent, struct err *err)
{
	struct search search = { .store = store, .packs = packs, .err = err };
	char name[OBJECT_NAME_MAX];
	int r = index_packs(store->index, search_one, &search);

	if (r == -ENOMEM)
		err_set(err, r, "out of memory for a list of packs");
	if (r == 0 && search.missing.count) {
		pack_name(name, &search.missing.ids[0]);
		if (search.missing.count == search.named)
			r = err_set(err, -EBADMSG,
				    "none of the %zu packs that tables name is "
				    "there ('%s' is the first): is a file "
				    "system not mounted? To begin anew all the "
				    "same, remove the files in 'tables'",
				    search.missing.count, name);
		else
			store_warn(store,
				   "%zu of %llu packs missing ('%s' is the "
				   "first): what they held is stored again "
				   "where it is met; vmsnap check tells whom "
				   "it hurts",
				   search.missing.count,
				   (unsigned long long)search.named, name);
	}
	for (size_t n = 0; n < search.missing.count && r == 0; n++)
		r = id_list_add(absent, &search.missing.ids[n], err);
	free(search.missing.ids);
	return r;
}

static void sort(struct id_list *list)
{
	if (list->count)
		qsort(list->ids, list->count, sizeof(*list->ids), compare_ids);
}

int store_adopt_packs(struct store *store, struct sealer *sealer,
		      struct id_list *absent, struct err *err)
{
	struct id_list packs = { 0 };
	int r;

	r = backend_list(store->backend, object_folder(OBJECT_PACK), add_leaf,
			 &packs, err);
	sort(&packs);
	sort(absent);
	if (r == 0 && store->mode != STORE_READ)
		r = find_missing(store, &packs, absent, err);
	sort(absent);
	if (r == 0)
		r = adopt_all(store, sealer, &packs, absent, err);
	free(packs.ids);
	return r;
}
