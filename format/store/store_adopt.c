/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a writer looks at before it relies on the store: the condemned lists,
 * and packs that no table names (whose writer died, or has not come to its
 * table yet). Those are taken as if a table named them; one that can't be read
 * is left alone: it is no backup's business. A condemned list that can't be read
 * is an error, since to ignore it might lose data.
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

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

int store_adopt_packs(struct store *store, struct sealer *sealer,
		      const struct id *condemned, size_t count, struct err *err)
{
	autofree struct id *sorted = NULL;
	struct id_list packs = { 0 };
	int r;

	r = alloc_array(&sorted, count + 1, sizeof(*sorted), err);
	if (r < 0)
		return r;
	if (count)
		memcpy(sorted, condemned, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_ids);

	r = backend_list(store->backend, object_folder(OBJECT_PACK), add_leaf,
			 &packs, err);
	for (size_t n = 0; n < packs.count && r == 0; n++) {
		const struct id *id = &packs.ids[n];

		/* A table that named a condemned pack would outlive it. */
		if (index_names_pack(store->index, id) ||
		    bsearch(id, sorted, count, sizeof(*sorted), compare_ids))
			continue;
		r = adopt_pack(store, sealer, id, err);
	}
	free(packs.ids);
	return r;
}
