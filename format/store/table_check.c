/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every rule of a table. What opening and streaming check is not checked
 * again here; this adds the zeros behind the header, the fences, that no pack is
 * listed twice and how often each is named, and that the filter misses no entry.
 * It is made anew from the entries and compared, a window at a time, so that a table of any size
 * is checked in bounded memory, at the price of one pass a window.
 */
#include "format/store/table_private.h"

#include <errno.h>

#include "format/base/base.h"
#include "format/store/id_set.h"

#define WINDOW_SIZE (32u << 20)
static_assert(WINDOW_SIZE % TABLE_PIECE_SIZE == 0, "windows are whole pieces");

static int check_gap(const struct table *table, struct err *err)
{
	uint8_t gap[TABLE_BLOCK_SIZE - sizeof(struct object_header)];
	int r = backend_get(table->backend, table->name,
			    sizeof(struct object_header), gap, sizeof(gap),
			    err);

	if (r < 0)
		return r;
	if (!bytes_are_zero(gap, sizeof(gap)))
		return err_set(err, -EBADMSG,
			       "table '%s': bytes behind the header are not "
			       "zero",
			       table->name);
	return 0;
}

static int check_packs(const struct table *table, struct err *err)
{
	struct id_set seen = { 0 };
	int r = 1;

	for (uint32_t n = 0; n < table_pack_count(table) && r == 1; n++) {
		r = id_set_add(&seen, &table->packs[n].id, err);
		if (r == 0)
			r = err_set(err, -EBADMSG,
				    "table '%s': pack number %u is listed "
				    "twice",
				    table->name, n);
	}
	id_set_release(&seen);
	return r < 0 ? r : 0;
}

/* One pass: order and entries (by the stream), fences, counts of packs. */
static int check_entries(struct table *table, struct sealer *sealer,
			 struct table_stream *stream, uint32_t *named,
			 struct err *err)
{
	const uint64_t stride = TABLE_FENCE_STRIDE * TABLE_BLOCK_ENTRIES;
	struct entry entry;
	uint64_t n;
	int r;

	for (n = 0; (r = table_stream_next(stream, sealer, &entry, err)) > 0;
	     n++) {
		uint32_t pack = le32_get(entry.pack);

		if (n % stride == 0 &&
		    le64_get(table->fences[n / stride]) != be64_get(entry.id.b))
			return err_set(err, -EBADMSG,
				       "table '%s': fence %llu is not the "
				       "first id of its block",
				       table->name,
				       (unsigned long long)(n / stride));
		if (++named[pack] > le32_get(table->packs[pack].count))
			return err_set(err, -EBADMSG,
				       "table '%s': more entries in pack "
				       "number %u than it has chunks",
				       table->name, pack);
	}
	return r;
}

/* Bits too many cost a read now and then; one too few hides a chunk. */
static bool misses_bits(const struct filter_block *found,
			const struct filter_block *made)
{
	uint32_t missing = 0;
	unsigned n;

	for (n = 0; n < ARRAY_SIZE(found->words); n++)
		missing |= made->words[n] & ~found->words[n];
	return missing != 0;
}

/* Filter blocks [first, first + count) must have what the entries ask for. */
static int check_window(struct table *table, struct sealer *sealer,
			struct table_stream *stream, uint64_t first,
			uint64_t count, struct filter_block *made,
			struct filter_block *found, struct err *err)
{
	uint64_t blocks = table->sections[SECTION_FILTER].count;
	struct entry entry;
	uint64_t n;
	int r;

	memset(made, 0, count * sizeof(*made));
	while ((r = table_stream_next(stream, sealer, &entry, err)) > 0) {
		n = filter_block_of(&entry.id, blocks);
		if (n >= first && n - first < count)
			filter_block_add(&made[n - first], &entry.id);
	}
	if (r < 0)
		return r;
	r = table_section_read(table, sealer, SECTION_FILTER,
			       first * sizeof(*made), found,
			       count * sizeof(*made), err);
	if (r < 0)
		return r;
	for (n = 0; n < count; n++)
		if (misses_bits(&found[n], &made[n]))
			return err_set(err, -EBADMSG,
				       "table '%s': filter block %llu misses "
				       "an entry",
				       table->name,
				       (unsigned long long)(first + n));
	return 0;
}

static int check_filter(struct table *table, struct sealer *sealer,
			struct err *err)
{
	uint64_t blocks = table->sections[SECTION_FILTER].count;
	uint64_t window = min_u64(blocks, WINDOW_SIZE / TABLE_FILTER_BLOCK);
	autofree struct filter_block *made = NULL, *found = NULL;
	struct table_stream *stream;
	uint64_t first;
	int r;

	r = alloc_array(&made, window, sizeof(*made), err);
	if (r == 0)
		r = alloc_array(&found, window, sizeof(*found), err);
	for (first = 0; first < blocks && r == 0; first += window) {
		r = table_stream_open(&stream, table, err);
		if (r < 0)
			break;
		r = check_window(table, sealer, stream, first,
				 min_u64(window, blocks - first), made, found,
				 err);
		table_stream_close(stream);
	}
	return r;
}

int table_check(struct table *table, struct sealer *sealer, struct err *err)
{
	autofree uint32_t *named = NULL;
	struct table_stream *stream;
	int r;

	r = check_gap(table, err);
	if (r == 0)
		r = check_packs(table, err);
	if (r < 0)
		return r;
	r = alloc_array(&named, table_pack_count(table), sizeof(*named), err);
	if (r < 0)
		return r;
	r = table_stream_open(&stream, table, err);
	if (r < 0)
		return r;
	r = check_entries(table, sealer, stream, named, err);
	table_stream_close(stream);
	return r < 0 ? r : check_filter(table, sealer, err);
}
