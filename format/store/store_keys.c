/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key slots of a store as objects: which one opens it, adding, removing,
 * and the recovery copy. A damaged slot is passed over while another one works.
 * A clear slot in an encrypted store is refused wherever it is met: whoever can
 * write there could else choose the masters.
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

struct slot_entry {
	char hex[SLOT_ID_HEX_SIZE];
	struct slot_file slot; /* zeroed when it can't be read */
	struct err wrong;      /* code 0: it is well */
};

struct slots {
	struct slot_entry *all;
	size_t count;
};

static void slots_release(struct slots *slots)
{
	if (slots->all)
		wipe(slots->all, slots->count * sizeof(*slots->all));
	free(slots->all);
	memset(slots, 0, sizeof(*slots));
}

static int add_slot(void *arg, const char *leaf, struct err *err)
{
	struct slots *slots = arg;
	struct slot_entry *grown;

	if (!store_leaf_is_hex(leaf, SLOT_ID_SIZE))
		return 0;
	if (slots->count == SLOTS_MAX)
		return err_set(err, -EBADMSG,
			       "'keys' holds more than %d key slots",
			       SLOTS_MAX);
	/* Only names so far: nothing secret is left behind by growing. */
	grown = reallocarray(slots->all, slots->count + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	slots->all = grown;
	memset(&grown[slots->count], 0, sizeof(*grown));
	memcpy(grown[slots->count++].hex, leaf, SLOT_ID_HEX_SIZE);
	return 0;
}

static void slot_name(char name[OBJECT_NAME_MAX], const char *hex)
{
	snprintf(name, OBJECT_NAME_MAX, "keys/%s", hex);
}

/* Does this kind of slot count in this store? */
static int check_kind(const struct slot_entry *entry,
		      const struct store_config *config, struct err *err)
{
	bool clear = le32_get(entry->slot.kind) == SLOT_CLEAR;

	if (clear == config->plaintext)
		return 0;
	return err_set(err, -EBADMSG,
		       clear ? "key slot '%s' is in clear, but the store is "
			       "encrypted: it was planted, and is refused"
			     : "key slot '%s' has a passphrase, but the store "
			       "is plaintext",
		       entry->hex);
}

static int read_slot(struct backend *backend, const struct store_config *config,
		     struct slot_entry *entry, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	struct bytes data = { 0 };
	int r;

	slot_name(name, entry->hex);
	r = backend_get_whole(backend, name, sizeof(struct slot_file), &data,
			      err);
	if (r == -EFBIG)
		r = -EBADMSG;
	else if (r == 0)
		r = slot_check(data.data, data.size, &config->store, entry->hex,
			       err);
	if (r == 0) {
		memcpy(&entry->slot, data.data, sizeof(entry->slot));
		r = check_kind(entry, config, err);
	}
	bytes_release_secret(&data);
	return r;
}

static int slots_load(struct backend *backend,
		      const struct store_config *config, struct slots *out,
		      struct err *err)
{
	struct slots slots = { 0 };
	int r = backend_list(backend, "keys", add_slot, &slots, err);

	if (r < 0) {
		slots_release(&slots);
		return r;
	}
	for (size_t n = 0; n < slots.count; n++) {
		struct slot_entry *entry = &slots.all[n];

		entry->wrong.code =
			read_slot(backend, config, entry, &entry->wrong);
	}
	*out = slots;
	return 0;
}

static size_t slots_good(const struct slots *slots)
{
	size_t good = 0;

	for (size_t n = 0; n < slots->count; n++)
		good += slots->all[n].wrong.code == 0;
	return good;
}

/* ---- open ---- */

/* The first slot that this passphrase opens. */
static int try_slots(struct store *store, const struct slots *slots,
		     const struct config_file *file, const char *passphrase,
		     size_t size, struct err *err)
{
	int last = err_set(err, -EKEYREJECTED,
			   "the passphrase opens none of the store's key "
			   "slots (%zu)",
			   slots_good(slots));

	for (size_t n = 0; n < slots->count; n++) {
		const struct slot_entry *entry = &slots->all[n];
		struct err why;
		int r;

		if (entry->wrong.code)
			continue;
		r = slot_open(&entry->slot, passphrase, size, &store->masters,
			      &why);
		if (r == 0)
			r = config_verify(file, &store->masters, &why);
		if (r == 0) {
			memcpy(store->open_key, entry->hex,
			       sizeof(store->open_key));
			return 0;
		}
		wipe(&store->masters, sizeof(store->masters));
		/* Another fault tells more than "wrong passphrase". */
		if (r != -EKEYREJECTED)
			last = err_set(err, r, "%s", why.text);
	}
	return last;
}

static int ask_and_try(struct store *store, const struct slots *slots,
		       const struct store_options *options,
		       const struct config_file *file, struct err *err)
{
	char *passphrase = NULL;
	size_t size = 0;
	int r;

	if (store->config.plaintext)
		return try_slots(store, slots, file, NULL, 0, err);
	if (!options->passphrase)
		return err_set(
			err, -EKEYREJECTED,
			"the store is encrypted: a passphrase is needed");
	r = options->passphrase(options->passphrase_arg, &passphrase, &size,
				err);
	if (r < 0)
		return r;
	r = try_slots(store, slots, file, passphrase, size, err);
	wipe(passphrase, size);
	free(passphrase);
	return r;
}

int store_unlock(struct store *store, const struct store_options *options,
		 const struct config_file *file, struct err *err)
{
	struct slots slots;
	int r = slots_load(store->backend, &store->config, &slots, err);

	if (r < 0)
		return r;
	if (slots.count == 0)
		r = err_set(err, -EBADMSG,
			    "the store has no key slot left: put one back from "
			    "a recovery copy");
	else if (slots_good(&slots) == 0)
		r = err_set(err, slots.all[0].wrong.code, "%s",
			    slots.all[0].wrong.text);
	else
		r = ask_and_try(store, &slots, options, file, err);
	for (size_t n = 0; n < slots.count && r == 0; n++) {
		if (slots.all[n].wrong.code)
			store_warn(store, "%s", slots.all[n].wrong.text);
	}
	slots_release(&slots);
	return r;
}

/* ---- list, add, remove ---- */

const char *store_open_key(const struct store *store)
{
	return store->open_key;
}

int store_each_key(struct store *store,
		   int (*fn)(void *arg, const char *id_hex,
			     const struct slot_file *slot, bool is_open,
			     const struct err *wrong),
		   void *arg, struct err *err)
{
	struct slots slots;
	int r = slots_load(store->backend, &store->config, &slots, err);

	if (r < 0)
		return r;
	for (size_t n = 0; n < slots.count && r == 0; n++) {
		const struct slot_entry *entry = &slots.all[n];

		r = fn(arg, entry->hex, &entry->slot,
		       strcmp(entry->hex, store->open_key) == 0,
		       entry->wrong.code ? &entry->wrong : NULL);
	}
	slots_release(&slots);
	return r;
}

int store_add_key(struct store *store, const char *passphrase,
		  size_t passphrase_size,
		  const struct slot_parameters *parameters, const char *label,
		  char id_hex[SLOT_ID_HEX_SIZE], struct err *err)
{
	char name[OBJECT_NAME_MAX], hex[SLOT_ID_HEX_SIZE];
	struct slot_file slot;
	int r = store_check_writable(store, err);

	if (r < 0)
		return r;
	if (store->config.plaintext && passphrase)
		return err_set(err, -EINVAL,
			       "the store is plaintext: a passphrase would "
			       "protect nothing");
	if (!store->config.plaintext && !passphrase)
		return err_set(err, -EINVAL,
			       "the store is encrypted: a new key needs a "
			       "passphrase");
	r = slot_make(&slot, &store->config.store, &store->masters, passphrase,
		      passphrase_size, parameters, label, err);
	if (r < 0)
		return r;
	hex_encode(hex, slot.id, SLOT_ID_SIZE);
	slot_name(name, hex);
	r = backend_put_whole(store->backend, name, &slot, sizeof(slot), err);
	wipe(&slot, sizeof(slot));
	if (r == 0)
		memcpy(id_hex, hex, sizeof(hex));
	return r;
}

static int check_removal(const struct slots *slots, const char *id_hex,
			 struct err *err)
{
	size_t others = slots_good(slots);
	bool found = false;

	for (size_t n = 0; n < slots->count; n++) {
		if (strcmp(slots->all[n].hex, id_hex) != 0)
			continue;
		found = true;
		others -= slots->all[n].wrong.code == 0;
	}
	if (!found)
		return err_set(err, -ENOENT, "the store has no key slot '%s'",
			       id_hex);
	if (others == 0)
		return err_set(err, -EBUSY,
			       "key slot '%s' is the last that can be opened: "
			       "without it nothing can be read any more",
			       id_hex);
	return 0;
}

int store_remove_key(struct store *store, const char *id_hex, struct err *err)
{
	char name[OBJECT_NAME_MAX], safe[128];
	struct slots slots;
	int r = store_check_writable(store, err);

	if (r < 0)
		return r;
	if (!store_leaf_is_hex(id_hex, SLOT_ID_SIZE))
		return err_set(err, -EINVAL,
			       "'%s' is no key slot's id: it has %d hex digits",
			       escape_name(safe, sizeof(safe), id_hex),
			       2 * SLOT_ID_SIZE);
	r = slots_load(store->backend, &store->config, &slots, err);
	if (r < 0)
		return r;
	r = check_removal(&slots, id_hex, err);
	slots_release(&slots);
	if (r < 0)
		return r;
	slot_name(name, id_hex);
	/* The slots that stay may be visible and not yet durable. */
	r = backend_settle(store->backend, "keys", err);
	if (r == 0)
		r = backend_delete(store->backend, name, err);
	/* A key that was taken back must not come back with the power. */
	if (r == 0)
		r = backend_settle(store->backend, "keys", err);
	return r;
}

/* ---- recovery copy ---- */

int store_export_keys(struct backend *backend, struct bytes *out,
		      struct err *err)
{
	autofree struct slot_file *good = NULL;
	struct config_file file;
	struct store_config config;
	struct bytes data = { 0 };
	struct slots slots = { 0 };
	size_t count = 0;
	int r;

	r = backend_get_whole(backend, "config", sizeof(file), &data, err);
	if (r == 0)
		r = config_decode(data.data, data.size, &config, err);
	if (r == 0)
		memcpy(&file, data.data, sizeof(file));
	bytes_release(&data);
	if (r == 0)
		r = slots_load(backend, &config, &slots, err);
	if (r == 0)
		r = alloc_array(&good, slots.count + 1, sizeof(*good), err);
	if (r < 0) {
		slots_release(&slots);
		return r;
	}
	for (size_t n = 0; n < slots.count; n++) {
		if (slots.all[n].wrong.code == 0)
			good[count++] = slots.all[n].slot;
	}
	if (count == 0)
		r = err_set(err, -EBADMSG, "the store has no good key slot");
	else
		r = recovery_encode(&file, good, count, out, err);
	wipe(good, count * sizeof(*good));
	slots_release(&slots);
	return r;
}

/* One object of the copy: put if it is absent, or in place of a damaged one. */
static int restore_object(struct backend *backend, const char *name,
			  const void *data, size_t size, int found,
			  unsigned *restored, struct err *err)
{
	int r = 0;

	if (found == 0)
		return 0;
	if (found != -ENOENT)
		r = backend_delete(backend, name, err);
	if (r == 0)
		r = backend_put_whole(backend, name, data, size, err);
	if (r == 0)
		(*restored)++;
	return r;
}

/* 0: a config of this very store; -ENOENT, -EBADMSG: to be put back; else it
 * must not be touched. */
static int look_at_config(struct backend *backend,
			  const struct config_file *file, struct err *err)
{
	struct store_config config;
	struct bytes data = { 0 };
	int r;

	r = backend_get_whole(backend, "config", sizeof(*file), &data, err);
	if (r == -EFBIG)
		r = -EBADMSG;
	else if (r == 0)
		r = config_decode(data.data, data.size, &config, err);
	if (r == 0 && memcmp(data.data, file, sizeof(*file)))
		r = err_set(
			err, -EEXIST,
			memcmp(&config.store, &file->store, sizeof(file->store))
				? "the recovery copy is of another store"
				: "the store's config is not the one of "
				  "the recovery copy");
	bytes_release(&data);
	return r;
}

static int restore_all(struct backend *backend, const struct config_file *file,
		       const struct slot_file *slots, size_t count,
		       unsigned *restored, struct err *err)
{
	int r, found = look_at_config(backend, file, err);
	struct slot_entry entry;
	struct store_config config;
	char name[OBJECT_NAME_MAX];

	if (found < 0 && found != -ENOENT && found != -EBADMSG)
		return found;
	r = config_decode(file, sizeof(*file), &config, err);
	for (size_t n = 0; n < count && r == 0; n++) {
		int there;

		hex_encode(entry.hex, slots[n].id, SLOT_ID_SIZE);
		slot_name(name, entry.hex);
		there = read_slot(backend, &config, &entry, NULL);
		if (there < 0 && there != -ENOENT && there != -EBADMSG)
			r = read_slot(backend, &config, &entry, err);
		else
			r = restore_object(backend, name, &slots[n],
					   sizeof(slots[n]), there, restored,
					   err);
	}
	wipe(&entry, sizeof(entry));
	/* Last, as at init: where it stands the store is whole. */
	if (r == 0)
		r = restore_object(backend, "config", file, sizeof(*file),
				   found, restored, err);
	return r;
}

int store_import_keys(struct backend *backend, const char *text, size_t size,
		      unsigned *restored, struct err *err)
{
	struct slot_file *slots = NULL;
	struct config_file file;
	unsigned done = 0;
	size_t count = 0;
	int r;

	r = recovery_decode(text, size, &file, &slots, &count, err);
	if (r < 0)
		return r;
	r = restore_all(backend, &file, slots, count, &done, err);
	wipe(slots, count * sizeof(*slots));
	free(slots);
	if (r == 0)
		*restored = done;
	return r;
}
