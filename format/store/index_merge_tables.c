/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One merge: k sorted streams through a heap into one table. Of two entries of an
 * id one stays: of a pack that is not condemned rather than of one that is (the
 * other copy may be deleted tomorrow), else the first. Every pack stays named. A
 * stream that fails ends the merge with nothing changed.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

struct source {
	struct index_table *table;
	struct table_stream *stream;
	struct entry entry; /* pack numbers of the new table */
	uint32_t *numbers;  /* of its packs in the new table */
};

struct merge {
	struct index *index;
	struct sealer *sealer;
	struct table_writer *writer;
	struct source *sources;
	unsigned *heap; /* source numbers, the least id on top */
	unsigned count, heap_count;
	bool *condemned; /* by pack number of the new table */
	struct index_table *bad;
};

struct pack_line {
	const struct table_pack *pack;
	unsigned source;
	uint32_t number;
};

static int by_pack(const void *a, const void *b)
{
	const struct pack_line *x = a, *y = b;

	return memcmp(x->pack, y->pack, sizeof(*x->pack));
}

/* Lines in order of pack: each pack gets one number. */
static int merge_number_packs(struct merge *merge, struct pack_line *lines,
			      size_t count, struct err *err)
{
	const struct id_set *condemned = &merge->index->condemned;
	int64_t number = -1;
	size_t n;

	qsort(lines, count, sizeof(*lines), by_pack);
	for (n = 0; n < count; n++) {
		if (n == 0 || by_pack(&lines[n - 1], &lines[n]) != 0) {
			number = table_writer_add_pack(merge->writer,
						       lines[n].pack, err);
			if (number < 0)
				return (int)number;
		}
		merge->sources[lines[n].source].numbers[lines[n].number] =
			(uint32_t)number;
		/* Shared, since index_set_condemned() may come meanwhile. */
		pthread_rwlock_rdlock(&merge->index->tables_lock);
		merge->condemned[number] =
			id_set_has(condemned, &lines[n].pack->id);
		pthread_rwlock_unlock(&merge->index->tables_lock);
	}
	return 0;
}

static int merge_packs(struct merge *merge, struct err *err)
{
	autofree struct pack_line *lines = NULL;
	size_t total = 0, count = 0;
	unsigned n;
	uint32_t k;
	int r = 0;

	for (n = 0; n < merge->count && r == 0; n++) {
		uint32_t packs =
			table_pack_count(merge->sources[n].table->table);

		total += packs;
		r = alloc_array(&merge->sources[n].numbers, packs,
				sizeof(uint32_t), err);
	}
	if (r == 0)
		r = alloc_array(&lines, total, sizeof(*lines), err);
	if (r == 0)
		r = alloc_array(&merge->condemned, total, sizeof(bool), err);
	if (r < 0)
		return r;
	for (n = 0; n < merge->count; n++) {
		const struct table *table = merge->sources[n].table->table;

		for (k = 0; k < table_pack_count(table); k++)
			lines[count++] =
				(struct pack_line){ table_pack(table, k), n,
						    k };
	}
	return merge_number_packs(merge, lines, count, err);
}

/* 1: its next entry stands ready, 0: it has ended. */
static int source_step(struct merge *merge, struct source *source,
		       struct err *err)
{
	int r = table_stream_next(source->stream, merge->sealer, &source->entry,
				  err);

	if (r < 0)
		merge->bad = source->table;
	if (r > 0)
		source->entry.pack = le32_make(
			source->numbers[le32_get(source->entry.pack)]);
	return r;
}

/* By id; then the better copy; then the first source. */
static bool goes_before(const struct merge *merge, unsigned a, unsigned b)
{
	const struct entry *x = &merge->sources[a].entry;
	const struct entry *y = &merge->sources[b].entry;
	int order = id_compare(&x->id, &y->id);
	bool p, q;

	if (order)
		return order < 0;
	p = merge->condemned[le32_get(x->pack)];
	q = merge->condemned[le32_get(y->pack)];
	return p != q ? !p : a < b;
}

static void heap_sift_down(struct merge *merge, unsigned at)
{
	unsigned *heap = merge->heap, child, moved;

	while ((child = 2 * at + 1) < merge->heap_count) {
		if (child + 1 < merge->heap_count &&
		    goes_before(merge, heap[child + 1], heap[child]))
			child++;
		if (!goes_before(merge, heap[child], heap[at]))
			return;
		moved = heap[at];
		heap[at] = heap[child];
		heap[child] = moved;
		at = child;
	}
}

static int merge_begin(struct merge *merge, struct err *err)
{
	unsigned n;
	int r;

	for (n = 0; n < merge->count; n++) {
		struct source *source = &merge->sources[n];

		r = table_stream_open(&source->stream, source->table->table,
				      err);
		if (r == 0)
			r = source_step(merge, source, err);
		if (r < 0)
			return r;
		if (r > 0)
			merge->heap[merge->heap_count++] = n;
	}
	for (n = merge->heap_count; n-- > 0;)
		heap_sift_down(merge, n);
	return 0;
}

static int merge_entries(struct merge *merge, struct err *err)
{
	struct id last = { { 0 } };
	int r;

	while (merge->heap_count) {
		struct source *source = &merge->sources[merge->heap[0]];

		if (!id_equal(&source->entry.id, &last)) {
			r = table_writer_add(merge->writer, merge->sealer,
					     &source->entry, err);
			if (r < 0)
				return r;
			last = source->entry.id;
		}
		r = source_step(merge, source, err);
		if (r < 0)
			return r;
		if (r == 0)
			merge->heap[0] = merge->heap[--merge->heap_count];
		heap_sift_down(merge, 0);
	}
	return 0;
}

/* The tables themselves, and what they replace and is still there. */
static int merge_replaces(struct merge *merge, struct err *err)
{
	const struct bytes *hidden = &merge->index->hidden;
	size_t n;
	int r = 0;

	for (n = 0; n < merge->count && r == 0; n++)
		r = table_writer_add_replaced(
			merge->writer, table_id(merge->sources[n].table->table),
			err);
	for (n = 0; n < hidden->size / sizeof(struct id) && r == 0; n++)
		r = table_writer_add_replaced(
			merge->writer, (const struct id *)hidden->data + n,
			err);
	return r;
}

static int merge_open(struct merge *merge, const struct index_tables *from,
		      struct err *err)
{
	uint64_t entries = 0;
	unsigned n;
	int r;

	merge->count = (unsigned)from->count;
	r = alloc_array(&merge->sources, from->count, sizeof(*merge->sources),
			err);
	if (r == 0)
		r = alloc_array(&merge->heap, from->count, sizeof(*merge->heap),
				err);
	if (r < 0)
		return r;
	for (n = 0; n < merge->count; n++) {
		merge->sources[n].table = from->tables[n];
		entries += table_entries(from->tables[n]->table);
	}
	return table_writer_open(&merge->writer, merge->index->backend,
				 &merge->index->store, merge->index->data_key,
				 entries, err);
}

static void merge_release(struct merge *merge)
{
	unsigned n;

	for (n = 0; merge->sources && n < merge->count; n++) {
		table_stream_close(merge->sources[n].stream);
		free(merge->sources[n].numbers);
	}
	table_writer_abort(merge->writer);
	free(merge->sources);
	free(merge->heap);
	free(merge->condemned);
}

/* Put `table` in the place of `from`, and note those as replaced. */
static int merge_publish(struct index *index, struct index_table *table,
			 const struct index_tables *from, struct err *err)
{
	struct index_tables set = { 0 };
	size_t n, k;
	int r;

	r = bytes_reserve(&index->hidden, from->count * ID_SIZE, err);
	if (r == 0)
		r = alloc_array(&set.tables, index->set.count + 1,
				sizeof(*set.tables), err);
	if (r < 0)
		return r;
	for (n = 0; n < index->set.count; n++) {
		struct index_table *kept = index->set.tables[n];

		for (k = 0; k < from->count && from->tables[k] != kept; k++)
			;
		if (k < from->count)
			continue;
		atomic_fetch_add(&kept->refs, 1);
		set.tables[set.count++] = kept;
	}
	atomic_fetch_add(&table->refs, 1);
	set.tables[set.count++] = table;
	for (k = 0; k < from->count; k++)
		bytes_append(&index->hidden, table_id(from->tables[k]->table),
			     ID_SIZE, NULL);
	index_publish(index, &set);
	return 0;
}

int index_merge_tables(struct index *index, struct sealer *sealer,
		       const struct index_tables *from,
		       struct index_table **bad, struct err *err)
{
	struct merge merge = { .index = index, .sealer = sealer };
	struct index_table *table = NULL;
	struct id id;
	int r;

	r = merge_open(&merge, from, err);
	if (r == 0)
		r = merge_replaces(&merge, err);
	if (r == 0)
		r = merge_packs(&merge, err);
	if (r == 0)
		r = merge_begin(&merge, err);
	if (r == 0)
		r = merge_entries(&merge, err);
	if (r == 0)
		r = table_writer_finish(ptr_steal(&merge.writer), sealer, &id,
					err);
	*bad = merge.bad;
	merge_release(&merge);
	if (r == 0)
		r = index_open_written(index, sealer, &id, from, &table, err);
	if (r == 0)
		r = merge_publish(index, table, from, err);
	index_table_put(table);
	return r;
}
