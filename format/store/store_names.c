/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names in snapshots/. A store may hold very many, and to read them costs
 * as much as a small backup. So a run that will need them lets them be read
 * while the store is opened, and asks for them anew only if the folder has
 * changed since: the sequence of a new snapshot is one more than the greatest
 * there is when it is committed, as if they had been listed then.
 */
#include <signal.h>
#include <string.h>

#include "format/store/store_private.h"

#define TAG_HEX_AT   32 /* in the name: behind the 16 random bytes */
#define TAG_HEX_SIZE 16

struct listing {
	struct id_list *list;
	const char *tag; /* its hex; NULL: all */
};

static int add_name(void *arg, const char *leaf, struct err *err)
{
	struct listing *listing = arg;
	size_t size = strlen(leaf);
	struct id id;

	/* Most are of others: told before anything is decoded. */
	if (size != ID_HEX_SIZE - 1 ||
	    (listing->tag &&
	     memcmp(leaf + TAG_HEX_AT, listing->tag, TAG_HEX_SIZE)))
		return 0;
	if (hex_decode(id.b, ID_SIZE, leaf, size) < 0)
		return 0;
	return id_list_add(listing->list, &id, err);
}

static int list_now(struct store *store, const uint8_t *tag,
		    struct id_list *list, struct err *err)
{
	char hex[TAG_HEX_SIZE + 1];
	struct listing listing = { list, tag ? hex : NULL };
	int r;

	if (tag)
		hex_encode(hex, tag, TAG_HEX_SIZE / 2);
	r = backend_each(store->backend, object_folder(OBJECT_SNAPSHOT),
			 add_name, &listing, err);
	if (r < 0) {
		free(list->ids);
		memset(list, 0, sizeof(*list));
	}
	return r;
}

/* ---- ahead ---- */

/* What fails here fails again, with words, for whoever asks. */
static void *ahead_main(void *arg)
{
	struct store *store = arg;
	struct names_ahead *ahead = &store->ahead;

	ahead->stamp =
		backend_stamp(store->backend, object_folder(OBJECT_SNAPSHOT));
	if (ahead->stamp && list_now(store, NULL, &ahead->list, NULL) < 0)
		ahead->stamp = 0;
	return NULL;
}

void store_names_begin(struct store *store)
{
	struct names_ahead *ahead = &store->ahead;
	sigset_t all, before;

	if (store->backend->single_thread) {
		ahead_main(store);
		return;
	}
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ahead->has_thread =
		pthread_create(&ahead->thread, NULL, ahead_main, store) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void ahead_join(struct names_ahead *ahead)
{
	if (ahead->has_thread)
		pthread_join(ahead->thread, NULL);
	ahead->has_thread = false;
}

static void ahead_forget(struct names_ahead *ahead)
{
	ahead->stamp = 0;
	free(ahead->list.ids);
	memset(&ahead->list, 0, sizeof(ahead->list));
}

void store_names_release(struct store *store)
{
	ahead_join(&store->ahead);
	ahead_forget(&store->ahead);
}

static int copy_names(const struct id_list *from, const uint8_t *tag,
		      struct id_list *to, struct err *err)
{
	int r = 0;

	for (size_t n = 0; n < from->count && r == 0; n++) {
		if (!tag || !memcmp(from->ids[n].b + TAG_HEX_AT / 2, tag,
				    TAG_HEX_SIZE / 2))
			r = id_list_add(to, &from->ids[n], err);
	}
	if (r < 0) {
		free(to->ids);
		memset(to, 0, sizeof(*to));
	}
	return r;
}

int store_names(struct store *store, const uint8_t *tag, struct id_list *list,
		struct err *err)
{
	struct names_ahead *ahead = &store->ahead;
	bool known;
	int r = 0;

	memset(list, 0, sizeof(*list));
	pthread_mutex_lock(&store->names_lock);
	ahead_join(ahead);
	known = ahead->stamp &&
		ahead->stamp == backend_stamp(store->backend,
					      object_folder(OBJECT_SNAPSHOT));
	if (known)
		r = copy_names(&ahead->list, tag, list, err);
	else
		ahead_forget(ahead);
	pthread_mutex_unlock(&store->names_lock);
	return known ? r : list_now(store, tag, list, err);
}
