/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a table, front to back in one pass: blocks as entries come, the
 * sections at the end. In memory stand the filter, the fences, the packs, and
 * one buffer. It refuses from its caller whatever a reader would refuse, so
 * that a bug above never becomes a table that can't be opened.
 */
#include "format/store/table_private.h"

#include <errno.h>

#include "format/base/base.h"

#define BUFFER_SIZE (1u << 20)

struct table_writer {
	struct backend *backend;
	struct backend_put *put;
	struct id id;
	char name[OBJECT_NAME_MAX];
	struct object_key key;
	struct object_header header;
	struct bytes buffer;
	uint64_t offset; /* where the next sealed byte goes */
	uint64_t entries, entries_max;
	uint64_t blocks;
	unsigned fill; /* of `block` */
	struct table_block block;
	struct id last;
	struct bytes fences;
	struct bytes packs;
	struct bytes replaces;
	struct filter_block *filter;
	uint64_t filter_blocks;
};

static void writer_free(struct table_writer *writer)
{
	bytes_release(&writer->buffer);
	bytes_release(&writer->fences);
	bytes_release(&writer->packs);
	bytes_release(&writer->replaces);
	free(writer->filter);
	wipe(&writer->key, sizeof(writer->key));
	free(writer);
}

void table_writer_abort(struct table_writer *writer)
{
	if (!writer)
		return;
	if (writer->put)
		backend_put_abort(writer->backend, writer->put);
	writer_free(writer);
}

static int writer_begin(struct table_writer *writer,
			const struct store_id *store, const uint8_t *data_key,
			struct err *err)
{
	int r;

	writer->filter_blocks = filter_blocks_for(writer->entries_max);
	r = alloc_array(&writer->filter, writer->filter_blocks,
			sizeof(*writer->filter), err);
	if (r == 0)
		r = random_fill(writer->id.b, ID_SIZE, err);
	if (r == 0)
		r = object_key_derive(&writer->key, data_key, writer->id.b,
				      object_word(OBJECT_TABLE), err);
	if (r == 0)
		r = bytes_reserve(&writer->buffer, BUFFER_SIZE, err);
	if (r < 0)
		return r;
	table_name(writer->name, &writer->id);
	object_header_make(&writer->header, OBJECT_TABLE, store, writer->id.b);
	r = bytes_append(&writer->buffer, &writer->header,
			 sizeof(writer->header), err);
	if (r == 0 &&
	    !bytes_extend(&writer->buffer,
			  TABLE_BLOCK_SIZE - sizeof(writer->header), err))
		r = -ENOMEM;
	if (r == 0)
		r = backend_put_begin(writer->backend, writer->name,
				      &writer->put, err);
	writer->offset = TABLE_BLOCK_SIZE;
	return r;
}

int table_writer_open(struct table_writer **out, struct backend *backend,
		      const struct store_id *store, const uint8_t *data_key,
		      uint64_t entries_max, struct err *err)
{
	struct table_writer *writer;
	int r;

	if (entries_max < 1 || entries_max > TABLE_ENTRIES_MAX)
		return err_set(err, -EINVAL,
			       "a table of %llu entries is not possible",
			       (unsigned long long)entries_max);
	r = alloc_array(&writer, 1, sizeof(*writer), err);
	if (r < 0)
		return r;
	writer->backend = backend;
	writer->entries_max = entries_max;
	r = writer_begin(writer, store, data_key, err);
	if (r < 0) {
		table_writer_abort(writer);
		return r;
	}
	*out = writer;
	return 0;
}

int64_t table_writer_add_pack(struct table_writer *writer,
			      const struct table_pack *pack, struct err *err)
{
	uint64_t number = writer->packs.size / sizeof(*pack);
	int r;

	if (number >= TABLE_PACKS_MAX)
		return err_set(err, -EFBIG, "table '%s': too many packs",
			       writer->name);
	r = bytes_append(&writer->packs, pack, sizeof(*pack), err);
	return r < 0 ? r : (int64_t)number;
}

int table_writer_add_replaced(struct table_writer *writer,
			      const struct id *table, struct err *err)
{
	if (writer->replaces.size / ID_SIZE >= TABLE_REPLACES_MAX)
		return err_set(err, -EFBIG,
			       "table '%s': replaces too many tables",
			       writer->name);
	return bytes_append(&writer->replaces, table, ID_SIZE, err);
}

/* Seal `size` bytes at the end of what is written. */
static int writer_seal(struct table_writer *writer, struct sealer *sealer,
		       const void *aad, size_t aad_size, const void *plain,
		       size_t size, struct err *err)
{
	size_t sealed = size + SEAL_TAG_SIZE;
	int r;

	if (writer->buffer.size + sealed > BUFFER_SIZE) {
		r = backend_put_write(writer->backend, writer->put,
				      writer->buffer.data, writer->buffer.size,
				      err);
		if (r < 0)
			return r;
		writer->buffer.size = 0;
	}
	r = bytes_reserve(&writer->buffer, sealed, err);
	if (r < 0)
		return r;
	r = sealer_seal(sealer, &writer->key, writer->offset, aad, aad_size,
			plain, size, writer->buffer.data + writer->buffer.size,
			err);
	if (r < 0)
		return r;
	writer->buffer.size += sealed;
	writer->offset += sealed;
	return 0;
}

static int writer_put_block(struct table_writer *writer, struct sealer *sealer,
			    struct err *err)
{
	le64 fence = le64_make(be64_get(writer->block.entries[0].id.b));
	int r = 0;

	if (writer->blocks % TABLE_FENCE_STRIDE == 0)
		r = bytes_append(&writer->fences, &fence, sizeof(fence), err);
	if (r < 0)
		return r;
	memset(&writer->block.entries[writer->fill], 0,
	       (TABLE_BLOCK_ENTRIES - writer->fill) * sizeof(struct entry));
	r = writer_seal(writer, sealer, NULL, 0, &writer->block,
			sizeof(writer->block), err);
	if (r < 0)
		return r;
	writer->blocks++;
	writer->fill = 0;
	return 0;
}

static const char *writer_entry_wrong(const struct table_writer *writer,
				      const struct entry *entry)
{
	uint64_t number = le32_get(entry->pack);
	const struct table_pack *pack;

	if (writer->entries == writer->entries_max)
		return "more than were announced";
	if (number >= writer->packs.size / sizeof(*pack))
		return "a pack number past the end of the list";
	if (id_compare(&writer->last, &entry->id) >= 0)
		return "not greater than the one before";
	pack = (const struct table_pack *)writer->packs.data + number;
	return entry_wrong(entry,
			   le64_get(pack->size_bytes) -
				   PACK_TAIL_SIZE(le32_get(pack->count)));
}

int table_writer_add(struct table_writer *writer, struct sealer *sealer,
		     const struct entry *entry, struct err *err)
{
	const char *wrong = writer_entry_wrong(writer, entry);
	uint64_t block;
	int r;

	if (wrong)
		return err_set(err, -EINVAL, "table '%s': new entry %llu: %s",
			       writer->name,
			       (unsigned long long)writer->entries, wrong);
	if (writer->fill == TABLE_BLOCK_ENTRIES) {
		r = writer_put_block(writer, sealer, err);
		if (r < 0)
			return r;
	}
	block = filter_block_of(&entry->id, writer->filter_blocks);
	filter_block_add(&writer->filter[block], &entry->id);
	writer->block.entries[writer->fill++] = *entry;
	writer->last = entry->id;
	writer->entries++;
	return 0;
}

static int writer_put_section(struct table_writer *writer,
			      struct sealer *sealer,
			      enum table_section_kind kind, const void *data,
			      uint64_t size, struct table_footer *footer,
			      struct err *err)
{
	uint64_t done = 0;
	int r;

	footer->sections[kind].offset = le64_make(writer->offset);
	footer->sections[kind].count =
		le64_make(size / table_section_width(kind));
	while (done < size) {
		size_t piece = min_u64(size - done, TABLE_PIECE_SIZE);

		r = writer_seal(writer, sealer, NULL, 0,
				(const uint8_t *)data + done, piece, err);
		if (r < 0)
			return r;
		done += piece;
	}
	return 0;
}

static int writer_put_tail(struct table_writer *writer, struct sealer *sealer,
			   struct err *err)
{
	const struct {
		const void *data;
		uint64_t size;
	} sections[SECTION_COUNT] = {
		[SECTION_FENCES] = { writer->fences.data, writer->fences.size },
		[SECTION_PACKS] = { writer->packs.data, writer->packs.size },
		[SECTION_REPLACES] = { writer->replaces.data,
				       writer->replaces.size },
		[SECTION_FILTER] = { writer->filter,
				     writer->filter_blocks *
					     TABLE_FILTER_BLOCK },
	};
	struct table_footer footer = {
		.entries = le64_make(writer->entries),
		.blocks = le64_make(writer->blocks),
	};
	struct object_trailer trailer;
	uint8_t aad[TABLE_AAD_MAX];
	uint64_t footer_at;
	unsigned n;
	int r;

	for (n = 0; n < SECTION_COUNT; n++) {
		r = writer_put_section(writer, sealer, n, sections[n].data,
				       sections[n].size, &footer, err);
		if (r < 0)
			return r;
	}
	footer_at = writer->offset;
	r = writer_seal(writer, sealer, aad,
			table_footer_aad(&writer->header, writer->name, aad),
			&footer, sizeof(footer), err);
	if (r < 0)
		return r;
	object_trailer_make(&trailer, OBJECT_TABLE, 0, footer_at,
			    writer->offset - footer_at);
	r = bytes_append(&writer->buffer, &trailer, sizeof(trailer), err);
	if (r < 0)
		return r;
	return backend_put_write(writer->backend, writer->put,
				 writer->buffer.data, writer->buffer.size, err);
}

int table_writer_finish(struct table_writer *writer, struct sealer *sealer,
			struct id *id, struct err *err)
{
	int r;

	if (writer->entries == 0)
		r = err_set(err, -EINVAL, "table '%s': it has no entry",
			    writer->name);
	else
		r = writer_put_block(writer, sealer, err);
	if (r == 0)
		r = writer_put_tail(writer, sealer, err);
	if (r == 0)
		r = backend_put_finish(writer->backend, ptr_steal(&writer->put),
				       err);
	if (r == 0)
		*id = writer->id;
	table_writer_abort(writer);
	return r;
}
