/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a pack. Sealed chunks gather in one buffer that goes to the backend
 * when it is full, so that a chunk costs no system call; the directory stays
 * in memory until the end, because the caller needs it for the index anyway.
 * Refuses what a reader would refuse: the limits are checked before a byte is
 * appended. Durability is the caller's step (backend_put_finish).
 */
#include "format/store/pack.h"

#include <errno.h>
#include <stdio.h>

#include "format/base/base.h"

#define BUFFER_SIZE (1u << 20)

void pack_name(char name[OBJECT_NAME_MAX], const struct id *pack)
{
	char hex[ID_HEX_SIZE];

	hex_encode(hex, pack->b, ID_SIZE);
	snprintf(name, OBJECT_NAME_MAX, "%s/%.2s/%s",
		 object_folder(OBJECT_PACK), hex, hex);
}

static int pack_flush(struct pack_writer *writer, struct err *err)
{
	int r = backend_put_write(writer->backend, writer->put,
				  writer->buffer.data, writer->buffer.size,
				  err);

	if (r < 0)
		return r;
	writer->buffer.size = 0;
	return 0;
}

/* Hand the buffer on if `more` bytes would overfill it, then make room. */
static int pack_make_room(struct pack_writer *writer, size_t more,
			  struct err *err)
{
	int r;

	if (writer->buffer.size && writer->buffer.size + more > BUFFER_SIZE) {
		r = pack_flush(writer, err);
		if (r < 0)
			return r;
	}
	return bytes_reserve(&writer->buffer, more, err);
}

int pack_writer_open(struct pack_writer *writer, struct backend *backend,
		     const struct store_id *store,
		     const uint8_t data_key[KEY_SIZE], struct err *err)
{
	int r;

	memset(writer, 0, sizeof(*writer));
	writer->backend = backend;
	r = random_fill(writer->id.b, ID_SIZE, err);
	if (r < 0)
		return r;
	r = object_key_derive(&writer->key, data_key, writer->id.b,
			      object_word(OBJECT_PACK), err);
	if (r < 0)
		return r;
	pack_name(writer->name, &writer->id);
	object_header_make(&writer->header, OBJECT_PACK, store, writer->id.b);

	r = bytes_reserve(&writer->buffer, BUFFER_SIZE, err);
	if (r == 0)
		r = bytes_append(&writer->buffer, &writer->header,
				 sizeof(writer->header), err);
	if (r == 0)
		r = backend_put_begin(backend, writer->name, &writer->put, err);
	if (r < 0) {
		pack_writer_release(writer);
		return r;
	}
	writer->offset = sizeof(writer->header);
	return 0;
}

uint32_t pack_writer_count(const struct pack_writer *writer)
{
	return (uint32_t)(writer->directory.size / sizeof(struct entry));
}

int pack_writer_add(struct pack_writer *writer, struct sealer *sealer,
		    const struct id *id, enum chunk_kind kind,
		    enum codec_kind codec, uint32_t content_size,
		    const void *coded, size_t coded_size, struct entry *out,
		    struct err *err)
{
	size_t stored = coded_size + SEAL_TAG_SIZE;
	uint32_t count = pack_writer_count(writer);
	uint8_t aad[CHUNK_AAD_SIZE];
	struct entry entry;
	const char *wrong;
	int r;

	if (coded_size < 1 || coded_size > CHUNK_SIZE_MAX ||
	    content_size > CHUNK_SIZE_MAX)
		return err_set(err, -EINVAL,
			       "a coded chunk of %zu bytes is not possible",
			       coded_size);
	if (count >= PACK_COUNT_MAX ||
	    writer->offset + stored + PACK_TAIL_SIZE(count + 1) > PACK_SIZE_MAX)
		return err_set(err, -EFBIG, "pack '%s' is full", writer->name);
	entry_make(&entry, id, 0, (uint32_t)writer->offset, (uint32_t)stored,
		   codec, content_size, kind);
	wrong = entry_wrong(&entry, UINT32_MAX);
	if (wrong)
		return err_set(err, -EINVAL, "chunk for pack '%s': %s",
			       writer->name, wrong);

	r = pack_make_room(writer, stored, err);
	if (r < 0)
		return r;
	r = bytes_reserve(&writer->directory, sizeof(entry), err);
	if (r < 0)
		return r;
	entry_aad(&entry, aad);
	r = sealer_seal(sealer, &writer->key, writer->offset, aad, sizeof(aad),
			coded, coded_size,
			writer->buffer.data + writer->buffer.size, err);
	if (r < 0)
		return r;
	r = bytes_append(&writer->directory, &entry, sizeof(entry), err);
	if (r < 0)
		return r;

	writer->buffer.size += stored;
	writer->offset += stored;
	*out = entry;
	return 0;
}

/* The additional data of a directory: header and name. */
static size_t pack_directory_aad(const struct pack_writer *writer,
				 uint8_t aad[80 + OBJECT_NAME_MAX])
{
	size_t length = strlen(writer->name);

	memcpy(aad, &writer->header, sizeof(writer->header));
	memcpy(aad + sizeof(writer->header), writer->name, length);
	return sizeof(writer->header) + length;
}

int pack_writer_seal(struct pack_writer *writer, struct sealer *sealer,
		     struct backend_put **put, uint64_t *size, struct err *err)
{
	size_t sealed = writer->directory.size + SEAL_TAG_SIZE;
	uint8_t aad[80 + OBJECT_NAME_MAX];
	struct object_trailer trailer;
	int r;

	if (!writer->directory.size)
		return err_set(err, -EINVAL, "pack '%s' has no chunk",
			       writer->name);
	r = pack_make_room(writer, sealed + sizeof(trailer), err);
	if (r < 0)
		return r;
	r = sealer_seal(sealer, &writer->key, writer->offset, aad,
			pack_directory_aad(writer, aad), writer->directory.data,
			writer->directory.size,
			writer->buffer.data + writer->buffer.size, err);
	if (r < 0)
		return r;
	writer->buffer.size += sealed;

	object_trailer_make(&trailer, OBJECT_PACK, pack_writer_count(writer),
			    writer->offset, sealed);
	r = bytes_append(&writer->buffer, &trailer, sizeof(trailer), err);
	if (r < 0)
		return r;
	r = pack_flush(writer, err);
	if (r < 0)
		return r;

	writer->offset += sealed + sizeof(trailer);
	*size = writer->offset;
	*put = ptr_steal(&writer->put);
	return 0;
}

void pack_writer_release(struct pack_writer *writer)
{
	if (writer->put)
		backend_put_abort(writer->backend, writer->put);
	bytes_release(&writer->buffer);
	bytes_release(&writer->directory);
	wipe(writer, sizeof(*writer));
}
