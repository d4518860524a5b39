/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a store, in the order config, key slot, MAC of the
 * config, condemned lists, tables, stray packs; nothing is believed before what
 * vouches for it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "format/store/store_private.h"

/* ---- warnings, damage ---- */

void store_warn(struct store *store, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;

	if (!store->warn)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&store->warn_lock);
	store->warn(store->warn_arg, text);
	pthread_mutex_unlock(&store->warn_lock);
}

int store_note_damage(struct store *store, const char *object,
		      const struct err *why, struct err *err)
{
	struct damage *grown = reallocarray(
		store->damage, store->damage_count + 1, sizeof(*grown));
	char *copy = strdup(object);

	if (grown)
		store->damage = grown;
	if (!grown || !copy) {
		free(copy);
		return err_set(err, -ENOMEM, "out of memory");
	}
	grown[store->damage_count].object = copy;
	grown[store->damage_count].why = *why;
	store->damage_count++;
	return 0;
}

static void table_is_damaged(void *arg, const char *name, const struct err *why)
{
	struct store *store = arg;

	if (store_note_damage(store, name, why, NULL) < 0 || !store->tolerant)
		store_warn(store,
			   store->mode == STORE_WRITE
				   ? "%s: passed over, the packs that it names "
				     "are taken in again; after this run it "
				     "can be removed"
				   : "%s: passed over, the packs that it names "
				     "are asked instead; a backup takes them "
				     "in again",
			   why->text);
}

int store_each_damage(struct store *store,
		      int (*fn)(void *arg, const char *object,
				const struct err *why),
		      void *arg)
{
	int r = 0;

	for (size_t n = 0; n < store->damage_count && r == 0; n++)
		r = fn(arg, store->damage[n].object, &store->damage[n].why);
	return r;
}

int store_check_writable(const struct store *store, struct err *err)
{
	if (store->mode != STORE_READ)
		return 0;
	return err_set(err, -EROFS, "the store is open for reading only");
}

/* ---- open ---- */

static int stop_at_first(void *arg, const char *leaf, struct err *err)
{
	(void)arg;
	(void)leaf;
	(void)err;
	return -EEXIST;
}

static bool has_any(struct backend *backend, const char *folder)
{
	return backend_list(backend, folder, stop_at_first, NULL, NULL) ==
	       -EEXIST;
}

/* There is no config: what to do depends on what is there. */
static void say_no_store(struct backend *backend, struct err *err)
{
	if (has_any(backend, "packs") || has_any(backend, "snapshots"))
		err_prefix(err, "the store's config is lost: put it back from "
				"a recovery copy, vmsnap key add --from COPY");
	else if (has_any(backend, "keys"))
		err_prefix(err, "not a store yet: its init was cut off (run "
				"vmsnap init again)");
	else
		err_prefix(err, "not a store (make one with vmsnap init)");
}

static int read_config(struct store *store, struct config_file *file,
		       struct err *err)
{
	struct bytes data = { 0 };
	int r;

	r = backend_get_whole(store->backend, "config", sizeof(*file), &data,
			      err);
	if (r == -ENOTDIR)
		r = -ENOENT;
	if (r == -ENOENT)
		say_no_store(store->backend, err);
	else if (r == -EFBIG)
		r = -EBADMSG;
	else if (r == 0)
		r = config_decode(data.data, data.size, &store->config, err);
	if (r == 0)
		memcpy(file, data.data, sizeof(*file));
	bytes_release(&data);
	return r;
}

/* What a writer must know before it relies on anything. */
static int prepare_writing(struct store *store, struct sealer *sealer,
			   struct err *err)
{
	struct id_list absent = { 0 };
	size_t condemned;
	int r = 0;

	/* An init that failed in its last step may have left a config that is
	 * seen and not durable. */
	if (store->mode == STORE_WRITE)
		r = backend_settle(store->backend, "", err);
	if (r == 0)
		r = store_read_condemned(store, sealer, &absent.ids,
					 &absent.count, err);
	absent.capacity = condemned = absent.count;
	if (r == 0)
		r = index_set_condemned(store->index, absent.ids, absent.count,
					err);
	if (r == 0)
		r = store_adopt_packs(store, sealer, &absent, err);
	if (r == 0 && absent.count > condemned)
		r = index_set_condemned(store->index, absent.ids, absent.count,
					err);
	free(absent.ids);
	return r;
}

/* A reader needs the tables alone, unless one of them is damaged. */
static int prepare_reading(struct store *store, struct sealer *sealer,
			   struct err *err)
{
	struct id_list none = { 0 };

	if (store->tolerant || !store->damage_count)
		return 0;
	return store_adopt_packs(store, sealer, &none, err);
}

static int open_index(struct store *store, size_t memory, struct err *err)
{
	const struct index_options how = {
		.backend = store->backend,
		.store = &store->config.store,
		.data_key = store->masters.data_key,
		.memory_bytes = memory,
		.tolerant = store->tolerant,
		.damaged = table_is_damaged,
		.arg = store,
	};

	return index_open(&store->index, &how, store->finisher.sealer, err);
}

static int open_all(struct store *store, const struct store_options *options,
		    struct err *err)
{
	struct config_file file;
	int r;

	r = finisher_init(&store->finisher, err);
	if (r == 0)
		r = read_config(store, &file, err);
	if (r == 0)
		r = store_unlock(store, options, &file, err);
	if (r == 0)
		r = open_index(store, options->index_memory, err);
	if (r < 0)
		return r;
	store->level = options->level ? options->level : store->config.level;
	if (store->mode == STORE_READ)
		return prepare_reading(store, store->finisher.sealer, err);
	return prepare_writing(store, store->finisher.sealer, err);
}

int store_open(struct store **out, struct backend *backend,
	       const struct store_options *options, struct err *err)
{
	struct store *store = NULL;
	int r = alloc_array(&store, 1, sizeof(*store), err);

	if (r < 0) {
		backend_close(backend);
		return r;
	}
	store->backend = backend;
	store->mode = options->mode;
	store->tolerant = options->tolerant;
	store->warn = options->warn;
	store->warn_arg = options->warn_arg;
	store->put_bytes_before =
		__atomic_load_n(&backend->put_bytes, __ATOMIC_RELAXED);
	pthread_mutex_init(&store->mend_lock, NULL);
	pthread_mutex_init(&store->warn_lock, NULL);
	pthread_mutex_init(&store->flush_lock, NULL);
	pthread_mutex_init(&store->names_lock, NULL);
	backend->read_only = options->mode != STORE_WRITE;
	if (options->names_ahead)
		store_names_begin(store);
	r = open_all(store, options, err);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*out = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_names_release(store);
	finisher_release(store);
	if (store->index)
		index_close(store->index);
	for (size_t n = 0; n < store->damage_count; n++)
		free(store->damage[n].object);
	free(store->damage);
	backend_close(store->backend);
	pthread_mutex_destroy(&store->mend_lock);
	pthread_mutex_destroy(&store->warn_lock);
	pthread_mutex_destroy(&store->flush_lock);
	pthread_mutex_destroy(&store->names_lock);
	wipe(store, sizeof(*store));
	free(store);
}

const struct store_config *store_config(const struct store *store)
{
	return &store->config;
}

const struct masters *store_masters(const struct store *store)
{
	return &store->masters;
}

struct backend *store_backend(struct store *store)
{
	return store->backend;
}

struct index *store_index(struct store *store)
{
	return store->index;
}

/* ---- threads ---- */

struct store_thread *store_thread_new(struct store *store, struct err *err)
{
	struct store_thread *thread = NULL;

	if (alloc_array(&thread, 1, sizeof(*thread), err) < 0)
		return NULL;
	thread->store = store;
	thread->hasher = hasher_new(store->masters.id_key, err);
	if (thread->hasher)
		thread->sealer = sealer_new(err);
	if (thread->sealer)
		thread->codec = codec_new(store->level, err);
	if (!thread->codec) {
		store_thread_free(thread);
		return NULL;
	}
	return thread;
}

struct hasher *store_thread_hasher(struct store_thread *thread)
{
	return thread->hasher;
}

struct sealer *store_thread_sealer(struct store_thread *thread)
{
	return thread->sealer;
}

struct store *store_thread_store(struct store_thread *thread)
{
	return thread->store;
}
