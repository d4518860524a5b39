/* SPDX-License-Identifier: Apache-2.0 */
/* Small sealed objects by name, and lists of ids. */
#include <errno.h>
#include <string.h>

#include "format/store/store_private.h"

int store_put_object(struct store *store, struct sealer *sealer,
		     enum object_kind kind, const char *name,
		     const struct bytes *plain, struct err *err)
{
	struct bytes sealed = { 0 };
	int r;

	r = sealed_object_make(sealer, kind, &store->config.store,
			       store->masters.data_key, name, plain->data,
			       plain->size, &sealed, err);
	if (r == 0)
		r = backend_put_whole(store->backend, name, sealed.data,
				      sealed.size, err);
	bytes_release(&sealed);
	return r;
}

int store_get_object(struct store *store, struct sealer *sealer,
		     enum object_kind kind, const char *name,
		     struct bytes *plain, struct err *err)
{
	struct bytes sealed = { 0 };
	int r;

	r = backend_get_whole(store->backend, name, SEALED_OBJECT_MAX, &sealed,
			      err);
	if (r == -EFBIG)
		r = -EBADMSG;
	else if (r == 0)
		r = sealed_object_open(sealer, kind, &store->config.store,
				       store->masters.data_key, name,
				       sealed.data, sealed.size, plain, err);
	bytes_release(&sealed);
	return r;
}

bool store_leaf_is_hex(const char *leaf, size_t size)
{
	return strlen(leaf) == 2 * size &&
	       strspn(leaf, "0123456789abcdef") == 2 * size;
}

int id_list_add(struct id_list *list, const struct id *id, struct err *err)
{
	if (list->count == list->capacity) {
		size_t more = list->capacity ? 2 * list->capacity : 64;
		struct id *grown =
			reallocarray(list->ids, more, sizeof(*grown));

		if (!grown)
			return err_set(err, -ENOMEM, "out of memory");
		list->ids = grown;
		list->capacity = more;
	}
	list->ids[list->count++] = *id;
	return 0;
}
