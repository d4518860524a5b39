/* SPDX-License-Identifier: Apache-2.0 */
/* The sabotages; see the header for what each breaks. */
#include "tests/rig/sabotage.h"

#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim.h"

#define HELD_MAX    64
#define SECTOR      512u
#define TABLE_START 4096u /* its first block */

static const char *const words[SABOTAGE_COUNT] = {
	[SABOTAGE_NONE] = "none",
	[SABOTAGE_NO_FSYNC] = "no-fsync",
	[SABOTAGE_NO_DIRSYNC] = "no-dirsync",
	[SABOTAGE_MANIFEST_FIRST] = "manifest-first",
	[SABOTAGE_TORN_TABLE] = "torn-table",
	[SABOTAGE_NONCE_REUSE] = "nonce-reuse",
	[SABOTAGE_NO_SETTLE] = "no-settle",
};

struct saboteur {
	struct backend base;
	enum sabotage kind;
	struct backend *inner;
	struct backend_put *held[HELD_MAX]; /* packs, not yet durable */
	unsigned held_count;
};

struct backend_put {
	struct saboteur *saboteur;
	struct backend_put *inner;
	bool is_pack, is_table, is_snapshot;
	uint64_t offset;
};

enum sabotage sabotage_of(const char *word)
{
	for (unsigned n = 1; n < SABOTAGE_COUNT; n++) {
		if (strcmp(word, words[n]) == 0)
			return (enum sabotage)n;
	}
	return SABOTAGE_NONE;
}

const char *sabotage_word(enum sabotage kind)
{
	return words[kind];
}

void sabotage_disk(enum sabotage kind, struct sim *sim)
{
	sim_set_lying_sync(sim, kind == SABOTAGE_NO_FSYNC);
	sim_set_lying_sync_dir(sim, kind == SABOTAGE_NO_DIRSYNC);
}

/* A small object draws its id (16 bytes) and then its salt (32). */
void sabotage_random(enum sabotage kind, void *data, size_t size)
{
	static size_t before;

	if (kind == SABOTAGE_NONCE_REUSE && before == 16 && size == 32)
		memset(data, 0x5a, size);
	before = size;
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
	put->is_table = strncmp(name, "tables/", 7) == 0;
	put->is_snapshot = strncmp(name, "snapshots/", 10) == 0;
	r = backend_put_begin(saboteur->inner, name, &put->inner, err);
	if (r < 0) {
		free(put);
		return r;
	}
	*out = put;
	return 0;
}

/* The first sector of the first block, wherever writes are cut. */
static void tear(uint8_t *data, size_t size, uint64_t offset)
{
	for (size_t at = 0; at < size; at++) {
		if (offset + at >= TABLE_START &&
		    offset + at < TABLE_START + SECTOR)
			data[at] = 0;
	}
}

static int put_write(struct backend_put *put, const void *data, size_t size,
		     struct err *err)
{
	struct saboteur *saboteur = put->saboteur;
	autofree uint8_t *copy = malloc(size + 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	if (put->is_table && saboteur->kind == SABOTAGE_TORN_TABLE)
		tear(copy, size, put->offset);
	put->offset += size;
	return backend_put_write(saboteur->inner, put->inner, copy, size, err);
}

static int put_finish(struct backend_put *put, struct err *err)
{
	struct saboteur *saboteur = put->saboteur;
	bool is_snapshot = put->is_snapshot;
	int r = 0;

	if (put->is_pack && saboteur->kind == SABOTAGE_MANIFEST_FIRST &&
	    saboteur->held_count < HELD_MAX)
		saboteur->held[saboteur->held_count++] = put->inner;
	else
		r = backend_put_finish(saboteur->inner, put->inner, err);
	free(put);
	if (!is_snapshot)
		return r;
	while (saboteur->held_count && r == 0)
		r = backend_put_finish(saboteur->inner,
				       saboteur->held[--saboteur->held_count],
				       err);
	return r;
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
	return backend_delete(saboteur_of(backend)->inner, name, err);
}

static int settle(struct backend *backend, const char *folder, struct err *err)
{
	struct saboteur *saboteur = saboteur_of(backend);

	if (saboteur->kind == SABOTAGE_NO_SETTLE)
		return 0;
	return backend_settle(saboteur->inner, folder, err);
}

static void close_all(struct backend *backend)
{
	struct saboteur *saboteur = saboteur_of(backend);

	while (saboteur->held_count)
		backend_put_abort(saboteur->inner,
				  saboteur->held[--saboteur->held_count]);
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

	if (kind != SABOTAGE_MANIFEST_FIRST && kind != SABOTAGE_TORN_TABLE &&
	    kind != SABOTAGE_NO_SETTLE)
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
