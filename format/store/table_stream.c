/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All entries of a table in order, for merges and checks. It reads past the
 * cache, in runs of blocks, so that a long read neither empties the cache nor
 * costs a request a block; and it trusts nothing: each entry, the order over
 * block borders, and the zeros after the last entry.
 */
#include "format/store/table_private.h"

#include <errno.h>

#include "format/base/base.h"

#define RUN_BLOCKS 64u

struct table_stream {
	struct table *table;
	uint64_t next_block; /* the next to be read */
	unsigned run;        /* blocks in `data` */
	unsigned block;      /* in the run */
	unsigned entry;      /* in the block */
	struct id last;      /* the null id before the first */
	uint8_t data[RUN_BLOCKS * TABLE_BLOCK_SIZE];
};

int table_stream_open(struct table_stream **out, struct table *table,
		      struct err *err)
{
	struct table_stream *stream;
	int r = alloc_array(&stream, 1, sizeof(*stream), err);

	if (r < 0)
		return r;
	stream->table = table;
	*out = stream;
	return 0;
}

void table_stream_close(struct table_stream *stream)
{
	free(stream);
}

static int stream_wrong(const struct table_stream *stream, const char *what,
			struct err *err)
{
	uint64_t block = stream->next_block - stream->run + stream->block;

	return err_set(err, -EBADMSG,
		       "table '%s': block %llu at offset %llu: entry %u: %s",
		       stream->table->name, (unsigned long long)block,
		       (unsigned long long)table_block_offset(block),
		       stream->entry, what);
}

static int stream_fill(struct table_stream *stream, struct sealer *sealer,
		       struct err *err)
{
	uint64_t left = stream->table->blocks - stream->next_block;
	unsigned run = (unsigned)min_u64(left, RUN_BLOCKS);
	int r = table_read_blocks(stream->table, sealer, stream->next_block,
				  run, stream->data, err);

	if (r < 0)
		return r;
	stream->next_block += run;
	stream->run = run;
	stream->block = 0;
	stream->entry = 0;
	return 0;
}

static int stream_check_padding(const struct table_stream *stream,
				const struct table_block *block, unsigned fill,
				struct err *err)
{
	if (fill < TABLE_BLOCK_ENTRIES &&
	    !bytes_are_zero(&block->entries[fill],
			    (TABLE_BLOCK_ENTRIES - fill) *
				    sizeof(struct entry)))
		return stream_wrong(stream, "bytes after it are not zero", err);
	return 0;
}

int table_stream_next(struct table_stream *stream, struct sealer *sealer,
		      struct entry *out, struct err *err)
{
	const struct table_block *block;
	const struct entry *entry;
	const char *wrong;
	unsigned fill;
	int r;

	if (stream->block == stream->run) {
		if (stream->next_block == stream->table->blocks)
			return 0;
		r = stream_fill(stream, sealer, err);
		if (r < 0)
			return r;
	}
	block = (const void *)(stream->data +
			       (size_t)stream->block * TABLE_BLOCK_SIZE);
	fill = table_block_fill(stream->table, stream->next_block -
						       stream->run +
						       stream->block);
	entry = &block->entries[stream->entry];
	wrong = table_entry_wrong(stream->table, entry);
	if (!wrong && id_compare(&stream->last, &entry->id) >= 0)
		wrong = "not greater than the one before";
	if (wrong)
		return stream_wrong(stream, wrong, err);
	if (stream->entry + 1 == fill) {
		r = stream_check_padding(stream, block, fill, err);
		if (r < 0)
			return r;
	}

	*out = *entry;
	stream->last = entry->id;
	if (++stream->entry == fill) {
		stream->entry = 0;
		stream->block++;
	}
	return 1;
}
