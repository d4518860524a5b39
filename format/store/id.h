/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk ids: HMAC-SHA-256(id key, kind || content). spec/store.md, Keys. */
#ifndef FORMAT_STORE_ID_H
#define FORMAT_STORE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "format/base/err.h"

#define ID_SIZE     32
#define ID_HEX_SIZE (2 * ID_SIZE + 1)

/* 32 bytes that name a chunk, a pack, a table or a snapshot. */
struct id {
	uint8_t b[ID_SIZE];
};

enum chunk_kind {
	CHUNK_DATA = 0,
	CHUNK_NODE = 1,
};
#define CHUNK_KIND_COUNT 2

static inline bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, ID_SIZE) == 0;
}

static inline int id_compare(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, ID_SIZE);
}

/* The null id stands for a hole. */
static inline bool id_is_null(const struct id *id)
{
	static const struct id null;

	return id_equal(id, &null);
}

/*
 * Computes ids; holds the key's inner and outer states ready, so that a chunk
 * costs no key set-up. Belongs to one thread.
 */
struct hasher;

struct hasher *hasher_new(const uint8_t id_key[32], struct err *err);
void hasher_free(struct hasher *hasher);
/* The id of a chunk. -EIO with words when libcrypto fails. */
int hasher_id(struct hasher *hasher, enum chunk_kind kind, const void *content,
	      size_t size, struct id *out, struct err *err);
/* First 8 bytes of HMAC(id key, 0x10 || name). */
int hasher_name_tag(struct hasher *hasher, const char *name, uint8_t tag[8],
		    struct err *err);

#endif
