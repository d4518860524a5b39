/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first 80 bytes of each object and the last 48 of packs and tables.
 * Checked in the spec's order: what says "too new" comes before the checksum,
 * so that a later version's object is never called corrupt.
 */
#include "format/store/header.h"

#include <errno.h>

#include <xxhash.h>

#include "format/base/base.h"
#include "format/store/pack.h"

struct kind_words {
	char magic[9]; /* and a NUL for the compiler */
	char trailer_magic[9];
	const char *folder;
	const char *word;
};

static const struct kind_words kinds[] = {
	[OBJECT_PACK] = { "VSPACK", "VSPACKTR", "packs", "pack" },
	[OBJECT_TABLE] = { "VSTABLE", "VSTABLTR", "tables", "table" },
	[OBJECT_SNAPSHOT] = { "VSSNAP", "", "snapshots", "snapshot" },
	[OBJECT_PIN] = { "VSPIN", "", "pins", "pin" },
	[OBJECT_CONDEMNED] = { "VSCONDEM", "", "condemned", "condemned" },
};

const char *object_folder(enum object_kind kind)
{
	assert((size_t)kind < ARRAY_SIZE(kinds));
	return kinds[kind].folder;
}

const char *object_word(enum object_kind kind)
{
	assert((size_t)kind < ARRAY_SIZE(kinds));
	return kinds[kind].word;
}

static le64 header_sum(const struct object_header *header)
{
	return le64_make(
		XXH3_64bits(header, offsetof(struct object_header, check)));
}

void object_header_make(struct object_header *header, enum object_kind kind,
			const struct store_id *store,
			const uint8_t salt[SALT_SIZE])
{
	assert((size_t)kind < ARRAY_SIZE(kinds));
	memset(header, 0, sizeof(*header));
	memcpy(header->magic, kinds[kind].magic, sizeof(header->magic));
	header->version = le32_make(STORE_VERSION);
	header->store = *store;
	memcpy(header->salt, salt, SALT_SIZE);
	header->check = header_sum(header);
}

int object_header_check(const struct object_header *header,
			enum object_kind kind, const struct store_id *store,
			const char *name, struct err *err)
{
	le64 sum = header_sum(header);

	assert((size_t)kind < ARRAY_SIZE(kinds));
	if (memcmp(header->magic, kinds[kind].magic, sizeof(header->magic)))
		return err_set(err, -EBADMSG,
			       "'%s' at 0: not a %s (wrong magic)", name,
			       kinds[kind].word);
	if (le32_get(header->version) != STORE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' at 8: format version %u, known here is %u:"
			       " use a newer vmsnap",
			       name, le32_get(header->version), STORE_VERSION);
	if (le32_get(header->incompat) != 0)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' at 12: needs features 0x%x that are not "
			       "known here: use a newer vmsnap",
			       name, le32_get(header->incompat));
	if (memcmp(&sum, &header->check, sizeof(sum)))
		return err_set(err, -EBADMSG,
			       "'%s' at 72: the header's checksum is wrong",
			       name);
	if (le32_get(header->reserved) != 0)
		return err_set(err, -EBADMSG,
			       "'%s' at 20: reserved bytes are not zero", name);
	if (memcmp(&header->store, store, sizeof(*store)))
		return err_set(err, -EBADMSG,
			       "'%s' at 24: belongs to another store", name);
	return 0;
}

static le64 trailer_sum(const struct object_trailer *trailer)
{
	return le64_make(
		XXH3_64bits(trailer, offsetof(struct object_trailer, check)));
}

void object_trailer_make(struct object_trailer *trailer, enum object_kind kind,
			 uint32_t count, uint64_t offset, uint64_t length)
{
	assert(kind == OBJECT_PACK || kind == OBJECT_TABLE);
	memset(trailer, 0, sizeof(*trailer));
	memcpy(trailer->magic, kinds[kind].trailer_magic,
	       sizeof(trailer->magic));
	trailer->count = le32_make(count);
	trailer->offset = le64_make(offset);
	trailer->length = le64_make(length);
	trailer->object_length = le64_make(offset + length + sizeof(*trailer));
	trailer->check = trailer_sum(trailer);
}

static bool count_is_right(enum object_kind kind, uint32_t count)
{
	if (kind == OBJECT_PACK)
		return count >= 1 && count <= PACK_COUNT_MAX;
	return count == 0;
}

int object_trailer_check(const struct object_trailer *trailer,
			 enum object_kind kind, uint64_t size, const char *name,
			 struct err *err)
{
	uint64_t offset = le64_get(trailer->offset);
	uint64_t length = le64_get(trailer->length);
	uint64_t at = size - sizeof(*trailer), end;
	le64 sum = trailer_sum(trailer);

	assert(kind == OBJECT_PACK || kind == OBJECT_TABLE);
	if (size < sizeof(struct object_header) + sizeof(*trailer))
		return err_set(err, -EBADMSG,
			       "'%s': %lu bytes are too few for a %s", name,
			       size, kinds[kind].word);
	if (memcmp(trailer->magic, kinds[kind].trailer_magic,
		   sizeof(trailer->magic)))
		return err_set(err, -EBADMSG,
			       "'%s' at %lu: no %s trailer (is it cut short?)",
			       name, at, kinds[kind].word);
	if (le32_get(trailer->incompat) != 0)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' at %lu: needs features 0x%x that are not "
			       "known here: use a newer vmsnap",
			       name, at + 8, le32_get(trailer->incompat));
	if (memcmp(&sum, &trailer->check, sizeof(sum)))
		return err_set(err, -EBADMSG,
			       "'%s' at %lu: the trailer's checksum is wrong",
			       name, at + 40);
	if (le64_get(trailer->object_length) != size)
		return err_set(err, -EBADMSG,
			       "'%s' has %lu bytes, its trailer says %lu", name,
			       size, le64_get(trailer->object_length));
	if (kind == OBJECT_PACK && size > PACK_SIZE_MAX)
		return err_set(err, -EBADMSG,
			       "'%s' has %lu bytes, a pack at most %u", name,
			       size, PACK_SIZE_MAX);
	if (!count_is_right(kind, le32_get(trailer->count)))
		return err_set(err, -EBADMSG,
			       "'%s' at %lu: a count of %u can't be", name,
			       at + 12, le32_get(trailer->count));
	if (offset < sizeof(struct object_header) || length < SEAL_TAG_SIZE ||
	    __builtin_add_overflow(offset, length, &end) || end != at)
		return err_set(err, -EBADMSG,
			       "'%s' at %lu: offset %lu and length %lu don't "
			       "end at the trailer",
			       name, at + 16, offset, length);
	return 0;
}
