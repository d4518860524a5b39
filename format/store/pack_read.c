/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading packs: a directory as a whole, and one chunk from its bytes.
 * Nothing read here is believed before it is authenticated, and nothing that
 * is authenticated is believed before it is checked against the pack's size.
 */
#include "format/store/pack.h"

#include <errno.h>

#include "format/base/base.h"

/* The smallest chunk, one entry, and what is around them. */
#define PACK_SIZE_MIN \
	(sizeof(struct object_header) + 1 + SEAL_TAG_SIZE + PACK_TAIL_SIZE(1))

struct pack_frame {
	char name[OBJECT_NAME_MAX];
	struct object_header header;
	struct object_trailer trailer;
	uint64_t size_bytes;
};

static int pack_read_frame(struct backend *backend,
			   const struct store_id *store, const struct id *id,
			   struct pack_frame *frame, struct err *err)
{
	int r;

	pack_name(frame->name, id);
	r = backend_size(backend, frame->name, &frame->size_bytes, err);
	if (r < 0)
		return r;
	if (frame->size_bytes < PACK_SIZE_MIN ||
	    frame->size_bytes > PACK_SIZE_MAX)
		return err_set(
			err, -EBADMSG,
			"pack '%s': a size of %llu bytes is not possible",
			frame->name, (unsigned long long)frame->size_bytes);

	r = backend_get(backend, frame->name, 0, &frame->header,
			sizeof(frame->header), err);
	if (r < 0)
		return r;
	r = object_header_check(&frame->header, OBJECT_PACK, store, frame->name,
				err);
	if (r < 0)
		return r;
	if (memcmp(frame->header.salt, id->b, ID_SIZE))
		return err_set(err, -EBADMSG,
			       "pack '%s': its header is of another pack",
			       frame->name);

	r = backend_get(backend, frame->name,
			frame->size_bytes - sizeof(frame->trailer),
			&frame->trailer, sizeof(frame->trailer), err);
	if (r < 0)
		return r;
	return object_trailer_check(&frame->trailer, OBJECT_PACK,
				    frame->size_bytes, frame->name, err);
}

/* Each entry by itself, and that they don't overlap. */
static int directory_check(const struct entry *entries, uint32_t count,
			   uint64_t end, const char *name, struct err *err)
{
	uint64_t free_from = sizeof(struct object_header);
	uint32_t n;

	for (n = 0; n < count; n++) {
		const struct entry *entry = &entries[n];
		const char *wrong = entry_wrong(entry, end);
		uint32_t offset = le32_get(entry->offset);

		if (!wrong && le32_get(entry->pack) != 0)
			wrong = "its pack number is not 0";
		if (!wrong && offset < free_from)
			wrong = "it overlaps the one before";
		if (wrong)
			return err_set(err, -EBADMSG,
				       "pack '%s': directory entry %u: %s",
				       name, n, wrong);
		free_from = (uint64_t)offset + entry_stored_size(entry);
	}
	return 0;
}

static int directory_open(struct backend *backend, struct sealer *sealer,
			  const uint8_t data_key[KEY_SIZE],
			  const struct pack_frame *frame, const struct id *id,
			  uint8_t *sealed, size_t size, struct err *err)
{
	uint64_t offset = le64_get(frame->trailer.offset);
	size_t name_size = strlen(frame->name);
	uint8_t aad[sizeof(frame->header) + OBJECT_NAME_MAX];
	struct object_key key;
	int r;

	r = backend_get(backend, frame->name, offset, sealed, size, err);
	if (r < 0)
		return r;
	memcpy(aad, &frame->header, sizeof(frame->header));
	memcpy(aad + sizeof(frame->header), frame->name, name_size);
	r = object_key_derive(&key, data_key, id->b, object_word(OBJECT_PACK),
			      err);
	if (r < 0)
		return r;
	r = sealer_open(sealer, &key, offset, aad,
			sizeof(frame->header) + name_size, sealed, size, sealed,
			err);
	wipe(&key, sizeof(key));
	if (r < 0)
		return err_prefix(err, "pack '%s': directory at offset %llu",
				  frame->name, (unsigned long long)offset),
		       r;
	return 0;
}

int pack_read_directory(struct backend *backend, struct sealer *sealer,
			const struct store_id *store,
			const uint8_t data_key[KEY_SIZE], const struct id *id,
			struct pack_info *info, struct bytes *directory,
			struct err *err)
{
	struct pack_frame frame;
	autofree uint8_t *sealed = NULL;
	uint32_t count;
	uint64_t offset, length;
	int r;

	r = pack_read_frame(backend, store, id, &frame, err);
	if (r < 0)
		return r;
	count = le32_get(frame.trailer.count);
	offset = le64_get(frame.trailer.offset);
	length = le64_get(frame.trailer.length);
	if (count < 1 || count > PACK_COUNT_MAX)
		return err_set(
			err, -EBADMSG,
			"pack '%s': a count of %u chunks is not possible",
			frame.name, count);
	if (length != (uint64_t)count * sizeof(struct entry) + SEAL_TAG_SIZE)
		return err_set(
			err, -EBADMSG,
			"pack '%s': a directory of %llu bytes does not hold %u "
			"chunks",
			frame.name, (unsigned long long)length, count);

	r = alloc_array(&sealed, length, 1, err);
	if (r < 0)
		return r;
	r = directory_open(backend, sealer, data_key, &frame, id, sealed,
			   length, err);
	if (r < 0)
		return r;
	r = directory_check((const struct entry *)sealed, count, offset,
			    frame.name, err);
	if (r < 0)
		return r;
	r = bytes_append(directory, sealed, length - SEAL_TAG_SIZE, err);
	if (r < 0)
		return r;

	info->id = *id;
	info->size_bytes = frame.size_bytes;
	info->count = count;
	info->directory_offset = offset;
	return 0;
}

/* Words for one chunk: the caller puts the pack in front. */
static int chunk_fail(const struct entry *entry, int code, struct err *err)
{
	char hex[ID_HEX_SIZE];

	hex_encode(hex, entry->id.b, ID_SIZE);
	err_prefix(err, "chunk %s at offset %u", hex, le32_get(entry->offset));
	return code;
}

int pack_open_chunk(struct sealer *sealer, struct codec *codec,
		    struct hasher *hasher, const struct object_key *key,
		    const struct entry *entry, const void *ciphertext,
		    void *scratch, void *content, struct err *err)
{
	const char *wrong = entry_wrong(entry, UINT32_MAX);
	size_t stored = entry_stored_size(entry);
	size_t size = entry_content_size(entry);
	unsigned kind = entry_codec(entry);
	uint8_t aad[CHUNK_AAD_SIZE];
	struct id id;
	int r;

	if (wrong) {
		err_set(err, -EBADMSG, "%s", wrong);
		return chunk_fail(entry, -EBADMSG, err);
	}
	entry_aad(entry, aad);
	/* Raw content needs no second place. */
	r = sealer_open(sealer, key, le32_get(entry->offset), aad, sizeof(aad),
			ciphertext, stored,
			kind == CODEC_RAW ? content : scratch, err);
	if (r == 0 && kind != CODEC_RAW)
		r = codec_decode(codec, kind, scratch, stored - SEAL_TAG_SIZE,
				 content, size, err);
	if (r == 0)
		r = hasher_id(hasher, (enum chunk_kind)entry_kind(entry),
			      content, size, &id, err);
	if (r == 0 && !id_equal(&id, &entry->id))
		r = err_set(err, -EBADMSG, "its content has another id");
	return r < 0 ? chunk_fail(entry, r, err) : 0;
}
