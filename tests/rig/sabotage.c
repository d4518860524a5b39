/* SPDX-License-Identifier: Apache-2.0 */
/* The sabotages; see the header for what each breaks. */
#include "tests/rig/sabotage.h"

#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim.h"

struct row {
	const char *word;
	const char *where; /* the disk lies; NULL: no matter of the disk */
	enum sim_lie lie;
};

static const struct row rows[SABOTAGE_COUNT] = {
	[SABOTAGE_NONE] = { "none", NULL, 0 },
	[SABOTAGE_NO_FSYNC_PACK] = { "no-fsync-pack", "/store/packs/",
				     SIM_LIE_DATA },
	[SABOTAGE_NO_FSYNC_TABLE] = { "no-fsync-table", "/store/tables",
				      SIM_LIE_DATA },
	[SABOTAGE_NO_FSYNC_SNAPSHOT] = { "no-fsync-snapshot",
					 "/store/snapshots", SIM_LIE_DATA },
	[SABOTAGE_NO_FSYNC_PIN] = { "no-fsync-pin", "/store/pins",
				    SIM_LIE_DATA },
	[SABOTAGE_NO_FSYNC_KEY] = { "no-fsync-key", "/store/keys",
				    SIM_LIE_DATA },
	[SABOTAGE_TORN_PACK] = { "torn-pack", "/store/packs/", SIM_LIE_TAIL },
	[SABOTAGE_TORN_TABLE] = { "torn-table", "/store/tables", SIM_LIE_TAIL },
	[SABOTAGE_NO_DIRSYNC_PACK] = { "no-dirsync-pack", "/store/packs/",
				       SIM_LIE_NAMES },
	[SABOTAGE_NO_DIRSYNC_PACKS] = { "no-dirsync-packs", "/store/packs",
					SIM_LIE_NAMES },
	[SABOTAGE_NO_DIRSYNC_TABLE] = { "no-dirsync-table", "/store/tables",
					SIM_LIE_NAMES },
	[SABOTAGE_NO_DIRSYNC_SNAPSHOT] = { "no-dirsync-snapshot",
					   "/store/snapshots", SIM_LIE_NAMES },
	[SABOTAGE_NO_DIRSYNC_PIN] = { "no-dirsync-pin", "/store/pins",
				      SIM_LIE_NAMES },
	[SABOTAGE_NO_DIRSYNC_KEY] = { "no-dirsync-key", "/store/keys",
				      SIM_LIE_NAMES },
	[SABOTAGE_MANIFEST_FIRST] = { "manifest-first", NULL, 0 },
	[SABOTAGE_NO_SETTLE_PACK] = { "no-settle-pack", NULL, 0 },
	[SABOTAGE_NO_SETTLE_TABLE] = { "no-settle-table", NULL, 0 },
	[SABOTAGE_NO_SETTLE_KEY] = { "no-settle-key", NULL, 0 },
	[SABOTAGE_NO_SETTLE_REMOVED_KEY] = { "no-settle-removed-key", NULL, 0 },
	[SABOTAGE_NONCE_PACK] = { "nonce-pack", NULL, 0 },
	[SABOTAGE_NONCE_SNAPSHOT] = { "nonce-snapshot", NULL, 0 },
};

struct saboteur {
	struct backend base;
	enum sabotage kind;
	struct backend *inner;
	struct backend_put *held; /* a pack, not yet durable */
	bool has_deleted;         /* a key slot */
};

struct backend_put {
	struct saboteur *saboteur;
	struct backend_put *inner;
	bool is_pack, is_snapshot;
};

enum sabotage sabotage_of(const char *word)
{
	for (unsigned n = 1; n < SABOTAGE_COUNT; n++) {
		if (strcmp(word, rows[n].word) == 0)
			return (enum sabotage)n;
	}
	return SABOTAGE_NONE;
}

const char *sabotage_word(enum sabotage kind)
{
	return rows[kind].word;
}

void sabotage_disk(enum sabotage kind, struct sim *sim)
{
	sim_set_lie(sim, rows[kind].lie, rows[kind].where);
}

static struct saboteur *saboteur_of(struct backend *backend)
{
	return container_of(backend, struct saboteur, base);
}

static int begin(struct backend *backend, const char *name,
		 struct backend_put **out, struct err *err)
{
	struct saboteur *saboteur = saboteur_of(backend);
	struct backend_put *put = calloc(1, sizeof(*put));
	int r;

	if (!put)
		abort();
	put->saboteur = saboteur;
	put->is_pack = strncmp(name, "packs/", 6) == 0;
	put->is_snapshot = strncmp(name, "snapshots/", 10) == 0;
	r = backend_put_begin(saboteur->inner, name, &put->inner, err);
	if (r < 0) {
		free(put);
		return r;
	}
	*out = put;
	return 0;
}

static int put_write(struct backend_put *put, const void *data, size_t size,
		     struct err *err)
{
	return backend_put_write(put->saboteur->inner, put->inner, data, size,
				 err);
}

static int finish_held(struct saboteur *saboteur, struct err *err)
{
	if (!saboteur->held)
		return 0;
	return backend_put_finish(saboteur->inner, ptr_steal(&saboteur->held),
				  err);
}

static int put_finish(struct backend_put *put, struct err *err)
{
	struct saboteur *saboteur = put->saboteur;
	bool is_pack = put->is_pack, is_snapshot = put->is_snapshot;
	struct backend_put *inner = put->inner;
	int r;

	free(put);
	if (is_pack && saboteur->kind == SABOTAGE_MANIFEST_FIRST) {
		r = finish_held(saboteur, err);
		saboteur->held = inner;
		return r;
	}
	r = backend_put_finish(saboteur->inner, inner, err);
	return r == 0 && is_snapshot ? finish_held(saboteur, err) : r;
}

static void put_abort(struct backend_put *put)
{
	backend_put_abort(put->saboteur->inner, put->inner);
	free(put);
}

static int create(struct backend *backend, struct err *err)
{
	struct backend *inner = saboteur_of(backend)->inner;

	return inner->ops->create(inner, err);
}

static int get(struct backend *backend, const char *name, uint64_t offset,
	       void *buffer, size_t size, struct err *err)
{
	return backend_get(saboteur_of(backend)->inner, name, offset, buffer,
			   size, err);
}

static int object_size(struct backend *backend, const char *name,
		       uint64_t *size, struct err *err)
{
	return backend_size(saboteur_of(backend)->inner, name, size, err);
}

static int list(struct backend *backend, const char *folder,
		backend_list_fn *fn, void *arg, struct err *err)
{
	return backend_each(saboteur_of(backend)->inner, folder, fn, arg, err);
}

static uint64_t stamp(struct backend *backend, const char *folder)
{
	return backend_stamp(saboteur_of(backend)->inner, folder);
}

static int delete (struct backend *backend, const char *name, struct err *err)
{
	struct saboteur *saboteur = saboteur_of(backend);

	saboteur->has_deleted |= strncmp(name, "keys/", 5) == 0;
	return backend_delete(saboteur->inner, name, err);
}

static bool leaves_out(const struct saboteur *saboteur, const char *folder)
{
	bool is_keys = strcmp(folder, "keys") == 0;

	switch (saboteur->kind) {
	case SABOTAGE_NO_SETTLE_PACK:
		return strncmp(folder, "packs", 5) == 0;
	case SABOTAGE_NO_SETTLE_TABLE:
		return strcmp(folder, "tables") == 0;
	case SABOTAGE_NO_SETTLE_KEY:
		return is_keys && !saboteur->has_deleted;
	case SABOTAGE_NO_SETTLE_REMOVED_KEY:
		return is_keys && saboteur->has_deleted;
	default:
		return false;
	}
}

static int settle(struct backend *backend, const char *folder, struct err *err)
{
	struct saboteur *saboteur = saboteur_of(backend);

	if (leaves_out(saboteur, folder))
		return 0;
	return backend_settle(saboteur->inner, folder, err);
}

static void close_all(struct backend *backend)
{
	struct saboteur *saboteur = saboteur_of(backend);

	if (saboteur->held)
		backend_put_abort(saboteur->inner, saboteur->held);
	backend_close(saboteur->inner);
	free(saboteur);
}

static const struct backend_ops saboteur_ops = {
	.create = create,
	.put_begin = begin,
	.put_write = put_write,
	.put_finish = put_finish,
	.put_abort = put_abort,
	.get = get,
	.size = object_size,
	.list = list,
	.stamp = stamp,
	.delete = delete,
	.settle = settle,
	.close = close_all,
};

struct backend *sabotage_backend(enum sabotage kind, struct backend *inner)
{
	struct saboteur *saboteur;

	if (kind < SABOTAGE_MANIFEST_FIRST ||
	    kind > SABOTAGE_NO_SETTLE_REMOVED_KEY)
		return inner;
	saboteur = calloc(1, sizeof(*saboteur));
	if (!saboteur)
		abort();
	saboteur->base.ops = &saboteur_ops;
	saboteur->base.single_thread = inner->single_thread;
	saboteur->kind = kind;
	saboteur->inner = inner;
	return &saboteur->base;
}
