/* SPDX-License-Identifier: Apache-2.0 */
/* Entries: made, and held against the rules of the spec. */
#include "format/store/entry.h"

#include "format/base/base.h"
#include "format/store/pack.h"

void entry_make(struct entry *e, const struct id *id, uint32_t pack,
		uint32_t offset, uint32_t stored_size, enum codec_kind codec,
		uint32_t content_size, enum chunk_kind kind)
{
	assert(stored_size <= CHUNK_SIZE_MAX + SEAL_TAG_SIZE);
	assert(content_size <= CHUNK_SIZE_MAX);

	e->id = *id;
	e->pack = le32_make(pack);
	e->offset = le32_make(offset);
	e->stored = le32_make(stored_size | (uint32_t)codec << 24);
	e->content = le32_make(content_size | (uint32_t)kind << 24);
}

const char *entry_wrong(const struct entry *e, uint64_t end)
{
	uint64_t offset = le32_get(e->offset);
	uint32_t stored = entry_stored_size(e);
	uint32_t content = entry_content_size(e);

	if (id_is_null(&e->id))
		return "the null id, which stands for a hole";
	if (offset < sizeof(struct object_header))
		return "an offset inside the header";
	if (stored <= SEAL_TAG_SIZE || stored > CHUNK_SIZE_MAX + SEAL_TAG_SIZE)
		return "a stored length that can't be";
	if (content == 0 || content > CHUNK_SIZE_MAX)
		return "a content length that can't be";
	if (entry_codec(e) >= CODEC_KIND_COUNT)
		return "an unknown codec";
	if (entry_kind(e) >= CHUNK_KIND_COUNT)
		return "an unknown kind";
	if (entry_codec(e) == CODEC_RAW && stored != content + SEAL_TAG_SIZE)
		return "lengths that differ without a codec";
	if (entry_codec(e) != CODEC_RAW && stored - SEAL_TAG_SIZE >= content)
		return "a coded length that saves nothing";
	if (offset + stored > min_u64(end, PACK_SIZE_MAX))
		return "a place past the end of the pack";
	return NULL;
}

void entry_aad(const struct entry *e, uint8_t aad[CHUNK_AAD_SIZE])
{
	le32 content_size = le32_make(entry_content_size(e));

	aad[0] = (uint8_t)entry_kind(e);
	aad[1] = (uint8_t)entry_codec(e);
	memcpy(aad + 2, content_size.b, 4);
	memcpy(aad + 6, e->id.b, ID_SIZE);
}
