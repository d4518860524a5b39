/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a store: folders, key slot, config, each durable before the next, so
 * that a store exists once its config does. spec/store.md, Making a store.
 *
 * An init that was cut off leaves folders and a key slot that opens nothing.
 * The next one goes over that: the name `config` is given once, so of several
 * at a time one has made the store; that one takes the slots away that it
 * found, each other one its own. Refuses a place where anything else stands,
 * also a store that has lost its config.
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

/* ---- what an init that was cut off has left ---- */

struct leftover {
	char hex[SLOT_ID_HEX_SIZE];
	struct store_id store;
};

struct leftovers {
	struct leftover *all;
	size_t count;
};

static void slot_name(char name[OBJECT_NAME_MAX], const char *hex)
{
	snprintf(name, OBJECT_NAME_MAX, "keys/%s", hex);
}

static int note_leftover(void *arg, const char *leaf, struct err *err)
{
	struct leftovers *left = arg;
	struct leftover *grown;

	if (!store_leaf_is_hex(leaf, SLOT_ID_SIZE) || left->count == SLOTS_MAX)
		return err_set(err, -EEXIST,
			       "'keys/%s' is not what an init leaves: a store "
			       "needs a directory of its own",
			       leaf);
	grown = reallocarray(left->all, left->count + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	left->all = grown;
	memset(&grown[left->count], 0, sizeof(*grown));
	memcpy(grown[left->count++].hex, leaf, SLOT_ID_HEX_SIZE);
	return 0;
}

static int read_leftover(struct backend *backend, struct leftover *leftover,
			 struct err *err)
{
	struct bytes data = { 0 };
	char name[OBJECT_NAME_MAX];
	struct slot_file slot;
	int r;

	slot_name(name, leftover->hex);
	r = backend_get_whole(backend, name, sizeof(slot), &data, err);
	if (r == 0 && data.size == sizeof(slot)) {
		memcpy(&slot, data.data, sizeof(slot));
		leftover->store = slot.store;
	}
	if (r == 0)
		r = slot_check(data.data, data.size, &leftover->store,
			       leftover->hex, err);
	bytes_release_secret(&data);
	wipe(&slot, sizeof(slot));
	if (r == -EBADMSG || r == -EFBIG || r == -EOPNOTSUPP) {
		err_prefix(err, "not what an init leaves");
		return -EEXIST;
	}
	return r;
}

/* Each init has a store id of its own. */
static int check_ids(const struct leftovers *left, struct err *err)
{
	for (size_t n = 0; n < left->count; n++) {
		for (size_t k = 0; k < n; k++) {
			if (memcmp(&left->all[n].store, &left->all[k].store,
				   sizeof(left->all[n].store)) == 0)
				return err_set(
					err, -EEXIST,
					"several key slots of one store, but "
					"no config: put it back with 'vmsnap "
					"key add --from COPY', or take another "
					"directory");
		}
	}
	return 0;
}

static int find_leftovers(struct backend *backend, struct leftovers *left,
			  struct err *err)
{
	uint64_t size;
	int r;

	/* create() has the words for a store, and for a file in a folder's
	 * place. */
	if (backend_size(backend, "config", &size, NULL) == 0)
		return 0;
	r = backend_list(backend, "keys", note_leftover, left, err);
	if (r == -ENOTDIR)
		r = 0;
	for (size_t n = 0; n < left->count && r == 0;) {
		r = read_leftover(backend, &left->all[n], err);
		/* Another init has just given up. */
		if (r == -ENOENT) {
			left->all[n] = left->all[--left->count];
			r = 0;
			continue;
		}
		n++;
	}
	return r ? r : check_ids(left, err);
}

/* The store is made; slots that open nothing would only be warned of. */
static int drop_leftovers(struct backend *backend, const struct leftovers *left,
			  struct err *err)
{
	char name[OBJECT_NAME_MAX];
	int r = 0;

	for (size_t n = 0; n < left->count && r == 0; n++) {
		slot_name(name, left->all[n].hex);
		r = backend_delete(backend, name, err);
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0 && left->count)
		r = backend_settle(backend, "keys", err);
	if (r < 0)
		err_prefix(err, "the store is made and can be used, but what "
				"an earlier init left in it stays");
	return r;
}

/* ---- making ---- */

static int make_config(const struct store_create_options *options,
		       struct store_config *config, struct err *err)
{
	int r = random_fill(&config->store, sizeof(config->store), err);

	config->plaintext = options->plaintext;
	config->chunk_log2 = options->chunk_log2 ? options->chunk_log2 : 16;
	config->level = options->level ? options->level : STORE_LEVEL_DEFAULT;
	config->pack_size_bytes = options->pack_size_bytes
					  ? options->pack_size_bytes
					  : PACK_SIZE_DEFAULT;
	config->created_ns = time_now_ns();
	return r;
}

static int put_all(struct backend *backend, const struct slot_file *slot,
		   const struct config_file *file, struct err *err)
{
	char name[OBJECT_NAME_MAX], hex[SLOT_ID_HEX_SIZE];
	int r = backend->ops->create(backend, err);

	if (r < 0)
		return r;
	hex_encode(hex, slot->id, SLOT_ID_SIZE);
	slot_name(name, hex);
	r = backend_put_whole(backend, name, slot, sizeof(*slot), err);
	if (r < 0)
		return r;
	r = backend_put_whole(backend, "config", file, sizeof(*file), err);
	/* After any other failure it may be there: then the slot is needed. */
	if (r == -EEXIST)
		(void)backend_delete(backend, name, NULL);
	return r;
}

static int make_files(const struct store_create_options *options,
		      struct slot_file *slot, struct config_file *file,
		      struct err *err)
{
	struct store_config config = { 0 };
	struct masters masters;
	int r = make_config(options, &config, err);

	if (r == 0)
		r = masters_make(&masters, err);
	if (r < 0)
		return r;
	r = config_encode(&config, &masters, file, err);
	if (r == 0)
		r = slot_make(slot, &config.store, &masters,
			      options->plaintext ? NULL : options->passphrase,
			      options->passphrase_size, options->scrypt, NULL,
			      err);
	wipe(&masters, sizeof(masters));
	return r;
}

int store_create(struct backend *backend,
		 const struct store_create_options *options, struct err *err)
{
	struct leftovers left = { 0 };
	struct config_file file;
	struct slot_file slot;
	int r;

	if (!options->plaintext && !options->passphrase)
		return err_set(err, -EINVAL,
			       "an encrypted store needs a passphrase");
	/* All that can be refused is, before anything is made. */
	r = make_files(options, &slot, &file, err);
	if (r == 0)
		r = find_leftovers(backend, &left, err);
	if (r == 0)
		r = put_all(backend, &slot, &file, err);
	wipe(&slot, sizeof(slot));
	if (r == 0)
		r = drop_leftovers(backend, &left, err);
	free(left.all);
	return r;
}
