/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small sealed objects as a whole. The additional data holds the header and
 * the object's name, so that no object passes for another one, nor under a
 * name that it wasn't written for.
 */
#include <errno.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/header.h"
#include "format/store/pack.h"

#define OVERHEAD (sizeof(struct object_header) + SEAL_TAG_SIZE)

struct additional {
	uint8_t data[sizeof(struct object_header) + OBJECT_NAME_MAX];
	size_t size;
};

static int additional_make(struct additional *additional,
			   const struct object_header *header, const char *name,
			   struct err *err)
{
	size_t name_size = strlen(name);

	if (name_size > OBJECT_NAME_MAX)
		return err_set(err, -EINVAL, "object name '%s' is too long",
			       name);
	memcpy(additional->data, header, sizeof(*header));
	memcpy(additional->data + sizeof(*header), name, name_size);
	additional->size = sizeof(*header) + name_size;
	return 0;
}

static int seal(struct sealer *sealer, const struct object_header *header,
		enum object_kind kind, const uint8_t data_key[KEY_SIZE],
		const char *name, const void *plain, size_t size, uint8_t *out,
		struct err *err)
{
	struct additional additional;
	struct object_key key;
	int r;

	r = additional_make(&additional, header, name, err);
	if (r < 0)
		return r;
	r = object_key_derive(&key, data_key, header->salt, object_word(kind),
			      err);
	if (r < 0)
		return r;
	memcpy(out, header, sizeof(*header));
	r = sealer_seal(sealer, &key, sizeof(*header), additional.data,
			additional.size, plain, size, out + sizeof(*header),
			err);
	wipe(&key, sizeof(key));
	return r;
}

int sealed_object_make(struct sealer *sealer, enum object_kind kind,
		       const struct store_id *store,
		       const uint8_t data_key[KEY_SIZE], const char *name,
		       const void *plain, size_t size, struct bytes *out,
		       struct err *err)
{
	struct object_header header;
	uint8_t salt[SALT_SIZE];
	size_t before = out->size;
	uint8_t *to;
	int r;

	if (size == 0)
		return err_set(err, -EINVAL, "'%s' would be empty", name);
	if (size > SEALED_OBJECT_MAX - OVERHEAD)
		return err_set(err, -EFBIG,
			       "'%s' would have %zu bytes, at most %zu fit",
			       name, size, SEALED_OBJECT_MAX - OVERHEAD);
	r = random_fill(salt, sizeof(salt), err);
	if (r < 0)
		return r;
	object_header_make(&header, kind, store, salt);
	to = bytes_extend(out, size + OVERHEAD, err);
	if (!to)
		return -ENOMEM;
	r = seal(sealer, &header, kind, data_key, name, plain, size, to, err);
	if (r < 0)
		out->size = before;
	return r;
}

int sealed_object_open(struct sealer *sealer, enum object_kind kind,
		       const struct store_id *store,
		       const uint8_t data_key[KEY_SIZE], const char *name,
		       const void *data, size_t size, struct bytes *plain,
		       struct err *err)
{
	struct object_header header;
	struct additional additional;
	struct object_key key;
	size_t before = plain->size;
	void *to;
	int r;

	if (size < sizeof(header))
		return err_set(err, -EBADMSG, "'%s' has %zu bytes: cut short",
			       name, size);
	memcpy(&header, data, sizeof(header));
	r = object_header_check(&header, kind, store, name, err);
	if (r < 0)
		return r;
	if (size <= OVERHEAD || size > SEALED_OBJECT_MAX)
		return err_set(err, -EBADMSG, "'%s' has %zu bytes: %s", name,
			       size,
			       size > OVERHEAD ? "too many" : "cut short");
	r = additional_make(&additional, &header, name, err);
	if (r < 0)
		return r;
	to = bytes_extend(plain, size - OVERHEAD, err);
	if (!to)
		return -ENOMEM;
	r = object_key_derive(&key, data_key, header.salt, object_word(kind),
			      err);
	if (r == 0)
		r = sealer_open(sealer, &key, sizeof(header), additional.data,
				additional.size,
				(const uint8_t *)data + sizeof(header),
				size - sizeof(header), to, err);
	wipe(&key, sizeof(key));
	if (r < 0) {
		plain->size = before;
		err_prefix(err, "'%s' at %zu", name, sizeof(header));
	}
	return r;
}
