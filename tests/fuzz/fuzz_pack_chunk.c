/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One chunk of a pack. Input: an entry, then coded content, which is sealed
 * under the entry as it is; and once more as an honest raw chunk, which must open.
 */
#include "format/base/base.h"
#include "format/store/pack.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/table_rig.h"

static struct sealer *sealer;
static struct codec *codec;
static struct hasher *hasher;
static const struct object_key key = { "key of the pack" };

static int open_it(const struct entry *entry, const uint8_t *coded, size_t size,
		   uint8_t **content)
{
	uint8_t *sealed = malloc(size + SEAL_TAG_SIZE);
	uint8_t *scratch = malloc(size + SEAL_TAG_SIZE);
	uint8_t aad[CHUNK_AAD_SIZE];
	struct err err = { 0 };
	int r;

	*content = malloc(entry_content_size(entry) + 1u);
	must(sealed && scratch && *content);
	entry_aad(entry, aad);
	must(sealer_seal(sealer, &key, le32_get(entry->offset), aad,
			 sizeof(aad), coded, size, sealed, NULL) == 0);
	r = pack_open_chunk(sealer, codec, hasher, &key, entry, sealed, scratch,
			    *content, &err);
	must(r == 0 || (r < 0 && err.text[0]));
	free(sealed);
	free(scratch);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct entry entry;
	uint8_t *content;
	uint32_t stored;

	if (!sealer) {
		sealer = sealer_new(NULL);
		codec = codec_new(3, NULL);
		hasher = hasher_new(rig_key, NULL);
	}
	must(sealer && codec && hasher);
	if (size <= sizeof(entry) || size > sizeof(entry) + CHUNK_SIZE_MAX)
		return 0;
	memcpy(&entry, data, sizeof(entry));
	data += sizeof(entry);
	size -= sizeof(entry);
	stored = (uint32_t)size + SEAL_TAG_SIZE;
	/* The caller reads as many bytes as the entry says. */
	entry.stored = le32_make(stored | entry_codec(&entry) << 24);
	open_it(&entry, data, size, &content);
	free(content);

	must(hasher_id(hasher, CHUNK_DATA, data, size, &entry.id, NULL) == 0);
	if (id_is_null(&entry.id))
		return 0;
	entry_make(&entry, &entry.id, 0, 80, stored, CODEC_RAW, (uint32_t)size,
		   CHUNK_DATA);
	must(open_it(&entry, data, size, &content) == 0);
	must(memcmp(content, data, size) == 0);
	free(content);
	return 0;
}
