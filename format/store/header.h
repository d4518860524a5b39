/* SPDX-License-Identifier: Apache-2.0 */
/* What every object starts with, and what packs and tables end with.
 * spec/store.md, Object header; Trailer. */
#ifndef FORMAT_STORE_HEADER_H
#define FORMAT_STORE_HEADER_H

#include <assert.h>

#include "format/base/le.h"
#include "format/store/seal.h"

#define STORE_VERSION 1
#define STORE_ID_SIZE 16

struct store_id {
	uint8_t b[STORE_ID_SIZE];
};

enum object_kind {
	OBJECT_PACK,
	OBJECT_TABLE,
	OBJECT_SNAPSHOT,
	OBJECT_PIN,
	OBJECT_CONDEMNED,
};

struct object_header {
	uint8_t magic[8];
	le32 version;
	le32 incompat;
	le32 compat;
	le32 reserved;
	struct store_id store;
	uint8_t salt[SALT_SIZE];
	le64 check;
};
static_assert(sizeof(struct object_header) == 80, "spec/store.md, header");

struct object_trailer {
	uint8_t magic[8];
	le32 incompat;
	le32 count;
	le64 offset;
	le64 length;
	le64 object_length;
	le64 check;
};
static_assert(sizeof(struct object_trailer) == 48, "spec/store.md, Trailer");

/* The folder of a kind ("packs"), and its word for keys ("pack"). */
const char *object_folder(enum object_kind kind);
const char *object_word(enum object_kind kind);

void object_header_make(struct object_header *header, enum object_kind kind,
			const struct store_id *store,
			const uint8_t salt[SALT_SIZE]);
/* `name` is the object's, for words. -EOPNOTSUPP too new, -EBADMSG else, also
 * when it belongs to another store. */
int object_header_check(const struct object_header *header,
			enum object_kind kind, const struct store_id *store,
			const char *name, struct err *err);

/* kind is OBJECT_PACK or OBJECT_TABLE. */
void object_trailer_make(struct object_trailer *trailer, enum object_kind kind,
			 uint32_t count, uint64_t offset, uint64_t length);
/* Also that offset + length + 48 is object_length, that it equals `size`, and
 * that offset >= 80 and length >= 16. */
int object_trailer_check(const struct object_trailer *trailer,
			 enum object_kind kind, uint64_t size, const char *name,
			 struct err *err);

/*
 * A small sealed object (snapshot, pin, condemned list) as a whole:
 * header | ciphertext | tag, additional data = header || name.
 */
#define SEALED_OBJECT_MAX (16u << 20)
struct bytes;
int sealed_object_make(struct sealer *sealer, enum object_kind kind,
		       const struct store_id *store,
		       const uint8_t data_key[KEY_SIZE], const char *name,
		       const void *plain, size_t size, struct bytes *out,
		       struct err *err);
int sealed_object_open(struct sealer *sealer, enum object_kind kind,
		       const struct store_id *store,
		       const uint8_t data_key[KEY_SIZE], const char *name,
		       const void *data, size_t size, struct bytes *plain,
		       struct err *err);

#endif
