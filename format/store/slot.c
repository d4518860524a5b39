/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key slots: the masters under a passphrase, or in clear. scrypt makes each guess
 * cost memory and time; its parameters stand in the slot and are hostile until
 * checked, so that no slot can make a reader take more than 256 MiB.
 *
 * Whether a clear slot counts is for whoever has read the config: one planted
 * into an encrypted store must be refused there.
 */
#include "format/store/keys.h"

#include <errno.h>

#include <openssl/evp.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/store/record.h"

#define SLOT_MAGIC        "VSKEYSLT"
#define SCRYPT_LOG2_MIN   10
#define SCRYPT_LOG2_MAX   20
#define SCRYPT_R_MAX      32
#define SCRYPT_P_MAX      4
#define SCRYPT_MEMORY_MAX (256 * MIB)

const struct slot_parameters slot_parameters_default = {
	.log2_n = 15,
	.r = 8,
	.p = 1,
};

int masters_make(struct masters *masters, struct err *err)
{
	struct masters fresh = { 0 };
	int r;

	r = random_fill(&fresh, offsetof(struct masters, reserved), err);
	if (r == 0)
		*masters = fresh;
	wipe(&fresh, sizeof(fresh));
	return r;
}

/* What is wrong with the parameters, or NULL. */
static const char *scrypt_wrong(const struct slot_parameters *s)
{
	if (s->log2_n < SCRYPT_LOG2_MIN || s->log2_n > SCRYPT_LOG2_MAX)
		return "log2 N is not 10 to 20";
	if (s->r < 1 || s->r > SCRYPT_R_MAX)
		return "r is not 1 to 32";
	if (s->p < 1 || s->p > SCRYPT_P_MAX)
		return "p is not 1 to 4";
	if (s->log2_n >= 16 * s->r)
		return "log2 N is not below 16 r";
	if ((128ull * s->r) << s->log2_n > SCRYPT_MEMORY_MAX)
		return "it would take more than 256 MiB";
	return NULL;
}

/* What is wrong with a label of at most SLOT_LABEL_MAX bytes, or NULL. */
static const char *label_wrong(const char *label, size_t size)
{
	if (!text_is_valid(label, size))
		return "is not UTF-8";
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)label[i] < 0x20 || label[i] == 0x7f)
			return "has control characters";
	}
	return NULL;
}

static le64 sum(const struct slot_file *slot)
{
	return le64_make(XXH3_64bits(slot, offsetof(struct slot_file, check)));
}

static int derive(const struct slot_file *slot, const char *passphrase,
		  size_t size, struct object_key *key, struct err *err)
{
	uint64_t n = 1ull << le32_get(slot->log2_n);
	uint64_t r = le32_get(slot->r), p = le32_get(slot->p);
	/* libcrypto counts the p blocks and two rows of work beside N * r. */
	uint64_t memory = 128 * r * (n + p + 4);

	if (EVP_PBE_scrypt(passphrase, size, slot->salt, sizeof(slot->salt), n,
			   r, p, memory, key->b, sizeof(key->b)) != 1)
		return err_set(err, -ENOMEM,
			       "scrypt failed: it takes %lu MiB of memory",
			       (unsigned long)(memory >> 20) + 1);
	return 0;
}

static int lock_masters(struct slot_file *slot, const struct masters *masters,
			const char *passphrase, size_t size, struct err *err)
{
	uint8_t sealed[sizeof(*masters) + SEAL_TAG_SIZE];
	struct sealer *sealer;
	struct object_key key;
	int r;

	r = derive(slot, passphrase, size, &key, err);
	if (r < 0)
		return r;
	sealer = sealer_new(err);
	/* Offset 0 gives the nonce of twelve zero bytes. */
	r = !sealer ? -EIO
		    : sealer_seal(sealer, &key, 0, slot,
				  offsetof(struct slot_file, masters), masters,
				  sizeof(*masters), sealed, err);
	sealer_free(sealer);
	wipe(&key, sizeof(key));
	if (r < 0)
		return r;
	memcpy(slot->masters, sealed, sizeof(slot->masters));
	memcpy(slot->tag, sealed + sizeof(slot->masters), sizeof(slot->tag));
	return 0;
}

static int set_label(struct slot_file *slot, const char *label, struct err *err)
{
	size_t size = label ? strlen(label) : 0;
	const char *wrong;

	if (size > SLOT_LABEL_MAX)
		return err_set(err, -EINVAL,
			       "the label has %zu bytes, at most %d", size,
			       SLOT_LABEL_MAX);
	wrong = label_wrong(label, size);
	if (wrong)
		return err_set(err, -EINVAL, "the label %s", wrong);
	if (size)
		memcpy(slot->label, label, size);
	return 0;
}

static int fill_scrypt(struct slot_file *slot, const struct masters *masters,
		       const char *passphrase, size_t passphrase_size,
		       const struct slot_parameters *parameters,
		       struct err *err)
{
	const char *wrong;
	int r;

	if (!parameters)
		parameters = &slot_parameters_default;
	wrong = scrypt_wrong(parameters);
	if (wrong)
		return err_set(err, -EINVAL, "scrypt parameters: %s", wrong);
	slot->kind = le32_make(SLOT_SCRYPT);
	slot->log2_n = le32_make(parameters->log2_n);
	slot->r = le32_make(parameters->r);
	slot->p = le32_make(parameters->p);
	r = random_fill(slot->salt, sizeof(slot->salt), err);
	if (r < 0)
		return r;
	return lock_masters(slot, masters, passphrase, passphrase_size, err);
}

int slot_make(struct slot_file *out, const struct store_id *store,
	      const struct masters *masters, const char *passphrase,
	      size_t passphrase_size, const struct slot_parameters *parameters,
	      const char *label, struct err *err)
{
	struct slot_file slot = { 0 };
	int r;

	memcpy(slot.magic, SLOT_MAGIC, sizeof(slot.magic));
	slot.version = le32_make(STORE_VERSION);
	slot.kind = le32_make(SLOT_CLEAR);
	slot.store = *store;
	slot.created_ns = le64_make((uint64_t)time_now_ns());
	r = random_fill(slot.id, sizeof(slot.id), err);
	if (r == 0)
		r = set_label(&slot, label, err);
	if (r < 0)
		return r;
	if (passphrase)
		r = fill_scrypt(&slot, masters, passphrase, passphrase_size,
				parameters, err);
	else
		memcpy(slot.masters, masters, sizeof(slot.masters));
	if (r == 0) {
		slot.check = sum(&slot);
		*out = slot;
	}
	wipe(&slot, sizeof(slot));
	return r;
}

static int check_frame(struct slot_file *slot, const void *data, size_t size,
		       const char *name, struct err *err)
{
	le64 found;

	memset(slot, 0, sizeof(*slot));
	if (size)
		memcpy(slot, data, min_u64(size, sizeof(*slot)));
	if (memcmp(slot->magic, SLOT_MAGIC, sizeof(slot->magic)))
		return err_set(err, -EBADMSG,
			       "key slot '%s' at 0: not a key slot (wrong "
			       "magic)",
			       name);
	if (size >= offsetof(struct slot_file, incompat) &&
	    le32_get(slot->version) != STORE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "key slot '%s' at 8: format version %u, known "
			       "here is %u: use a newer vmsnap",
			       name, le32_get(slot->version), STORE_VERSION);
	if (le32_get(slot->incompat) != 0)
		return err_set(err, -EOPNOTSUPP,
			       "key slot '%s' at 12: needs features 0x%x that "
			       "are not known here: use a newer vmsnap",
			       name, le32_get(slot->incompat));
	if (size != sizeof(*slot))
		return err_set(err, -EBADMSG,
			       "key slot '%s' has %zu bytes instead of %zu",
			       name, size, sizeof(*slot));
	found = sum(slot);
	if (memcmp(&found, &slot->check, sizeof(found)))
		return err_set(err, -EBADMSG,
			       "key slot '%s' at 320: the checksum is wrong",
			       name);
	return 0;
}

/* A clear slot has nothing in the fields of scrypt. */
static const char *clear_wrong(const struct slot_file *slot)
{
	if (le32_get(slot->log2_n) || le32_get(slot->r) || le32_get(slot->p) ||
	    !bytes_are_zero(slot->salt, sizeof(slot->salt)) ||
	    !bytes_are_zero(slot->tag, sizeof(slot->tag)))
		return "a clear slot with scrypt fields or a tag";
	return NULL;
}

/* What the slot's fields break, or NULL; its kind is known. */
static const char *fields_wrong(const struct slot_file *slot)
{
	struct slot_parameters parameters = {
		.log2_n = le32_get(slot->log2_n),
		.r = le32_get(slot->r),
		.p = le32_get(slot->p),
	};
	size_t label_size = strnlen(slot->label, sizeof(slot->label));

	if (le32_get(slot->reserved) || le32_get(slot->reserved2))
		return "reserved bytes are not zero";
	if (label_size > SLOT_LABEL_MAX ||
	    !bytes_are_zero(slot->label + label_size,
			    sizeof(slot->label) - label_size) ||
	    label_wrong(slot->label, label_size))
		return "the label is not text padded with zeros";
	if (le32_get(slot->kind) == SLOT_CLEAR)
		return clear_wrong(slot);
	return scrypt_wrong(&parameters);
}

int slot_check(const void *data, size_t size, const struct store_id *store,
	       const char *id_hex, struct err *err)
{
	char found_hex[SLOT_ID_HEX_SIZE];
	struct slot_file slot;
	const char *wrong = NULL;
	int r;

	r = check_frame(&slot, data, size, id_hex, err);
	if (r < 0)
		goto out;
	if (le32_get(slot.kind) > SLOT_SCRYPT) {
		r = err_set(err, -EOPNOTSUPP,
			    "key slot '%s' at 16: kind %u is not known here: "
			    "use a newer vmsnap",
			    id_hex, le32_get(slot.kind));
		goto out;
	}
	hex_encode(found_hex, slot.id, sizeof(slot.id));
	if (strcmp(found_hex, id_hex) != 0)
		wrong = "the name is not the slot's id";
	else if (memcmp(&slot.store, store, sizeof(*store)))
		wrong = "belongs to another store: it opens nothing here, and "
			"'vmsnap key remove' takes it away";
	else
		wrong = fields_wrong(&slot);
	if (wrong)
		r = err_set(err, -EBADMSG, "key slot '%s': %s", id_hex, wrong);
out:
	wipe(&slot, sizeof(slot));
	return r;
}

static int unlock_masters(const struct slot_file *slot, const char *passphrase,
			  size_t size, struct masters *out, struct err *err)
{
	uint8_t sealed[sizeof(*out) + SEAL_TAG_SIZE];
	struct sealer *sealer;
	struct object_key key;
	int r;

	r = derive(slot, passphrase, size, &key, err);
	if (r < 0)
		return r;
	memcpy(sealed, slot->masters, sizeof(slot->masters));
	memcpy(sealed + sizeof(slot->masters), slot->tag, sizeof(slot->tag));
	sealer = sealer_new(err);
	r = !sealer ? -EIO
		    : sealer_open(sealer, &key, 0, slot,
				  offsetof(struct slot_file, masters), sealed,
				  sizeof(sealed), out, err);
	sealer_free(sealer);
	wipe(&key, sizeof(key));
	if (r == -EBADMSG)
		return err_set(err, -EKEYREJECTED,
			       "the passphrase does not open this key slot");
	return r;
}

int slot_open(const struct slot_file *slot, const char *passphrase,
	      size_t passphrase_size, struct masters *out, struct err *err)
{
	struct masters masters;
	int r = 0;

	_Static_assert(sizeof(masters) == sizeof(slot->masters), "same bytes");
	if (le32_get(slot->kind) == SLOT_CLEAR)
		memcpy(&masters, slot->masters, sizeof(masters));
	else if (!passphrase)
		return err_set(err, -EKEYREJECTED,
			       "this key slot needs a passphrase");
	else
		r = unlock_masters(slot, passphrase, passphrase_size, &masters,
				   err);
	if (r == 0 &&
	    !bytes_are_zero(masters.reserved, sizeof(masters.reserved)))
		r = err_set(err, -EBADMSG,
			    "the key slot's reserved secret is not zero");
	if (r == 0)
		*out = masters;
	wipe(&masters, sizeof(masters));
	return r;
}
