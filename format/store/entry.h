/* SPDX-License-Identifier: Apache-2.0 */
/* Where a chunk lies. spec/store.md, Entry. */
#ifndef FORMAT_STORE_ENTRY_H
#define FORMAT_STORE_ENTRY_H

#include <assert.h>

#include "format/base/le.h"
#include "format/store/codec.h"
#include "format/store/id.h"
#include "format/store/seal.h"

/* As it lies on disk. */
struct entry {
	struct id id;
	le32 pack;
	le32 offset;
	le32 stored;  /* bits 0-23 length with tag, 24-31 codec */
	le32 content; /* bits 0-23 length, 24-31 kind */
};
static_assert(sizeof(struct entry) == 48, "spec/store.md, Entry");

static inline uint32_t entry_stored_size(const struct entry *e)
{
	return le32_get(e->stored) & 0xffffff;
}

static inline unsigned entry_codec(const struct entry *e)
{
	return le32_get(e->stored) >> 24;
}

static inline uint32_t entry_content_size(const struct entry *e)
{
	return le32_get(e->content) & 0xffffff;
}

static inline unsigned entry_kind(const struct entry *e)
{
	return le32_get(e->content) >> 24;
}

void entry_make(struct entry *e, const struct id *id, uint32_t pack,
		uint32_t offset, uint32_t stored_size, enum codec_kind codec,
		uint32_t content_size, enum chunk_kind kind);
/*
 * Every rule of the spec that one entry alone can break; `end` is where the
 * ciphertexts of its pack must end (or UINT32_MAX where that is not known).
 * Returns NULL when it is well, else what is wrong.
 */
const char *entry_wrong(const struct entry *e, uint64_t end);

/* The additional data of a chunk's seal: kind, codec, content length, id. */
#define CHUNK_AAD_SIZE 38
void entry_aad(const struct entry *e, uint8_t aad[CHUNK_AAD_SIZE]);

#endif
