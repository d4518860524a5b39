/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of an image: the base's, with the chunks that its layers touch put
 * anew. The walk over the map gives runs in the order of the disk; they are cut
 * to chunks and gathered in batches; the workers read and store a batch's
 * chunks, and their ids go to the builder between those that the base has.
 * Nothing of the base is read where its ids may be kept, so the cost is what
 * was written, and a node for each 256 chunks of data.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "vmsnap/live.h"

#define BATCH_CHUNKS 4096u
#define BATCH_PIECES 4096u

enum piece_kind {
	PIECE_READ,
	PIECE_HOLE,
};

/* Chunks [first, first + count). */
struct piece {
	enum piece_kind kind;
	uint64_t first, count;
	size_t ids; /* READ: where in the batch's */
};

struct build {
	const struct live_tree *tree;
	struct tree_builder *builder;
	struct tree_reader *old; /* NULL: no ids to keep */
	uint64_t old_count, chunk_count;
	uint64_t next;     /* the first chunk that is in no piece yet */
	uint64_t appended; /* the first that is not in the builder yet */
	/* The chunk at the end of the shorter of base and image: its length is
	 * another in the new tree. UINT64_MAX: none. */
	uint64_t edge;

	struct piece pieces[BATCH_PIECES];
	size_t piece_count;
	struct id ids[BATCH_CHUNKS];
	uint64_t numbers[BATCH_CHUNKS];
	size_t id_count;

	/* The workers'. */
	_Atomic size_t taken;
	_Atomic bool failed;
	pthread_mutex_t lock; /* the totals */
};

/* ---- workers ---- */

struct reading {
	struct build *build;
	struct store_thread *thread;
	struct image_queue *queue; /* NULL: as of a seal */
	void *buffer;
	struct snapshot_totals totals;
};

static int read_chunk(struct reading *reading, uint64_t offset, uint32_t size,
		      struct err *err)
{
	const struct live_tree *tree = reading->build->tree;
	struct image *image = tree->live->image;
	int r = reading->queue ? image_read(reading->queue, reading->buffer,
					    size, offset)
			       : image_read_at(image, tree->layer,
					       reading->buffer, size, offset);

	return r ? err_sys(err, r,
			   "image '%s': reading %u bytes at offset %llu",
			   tree->live->path, size, (unsigned long long)offset)
		 : 0;
}

static int do_chunk(struct reading *reading, size_t at, struct err *err)
{
	struct build *build = reading->build;
	const struct live_tree *tree = build->tree;
	uint64_t number = build->numbers[at];
	uint32_t size = volume_chunk_bytes(tree->volume, number);
	struct put_result put = { 0 };
	int r = progress_check(tree->progress, err);

	if (!r)
		r = read_chunk(reading, number << tree->volume->chunk_log2,
			       size, err);
	if (r)
		return r;
	reading->totals.scanned_bytes += size;
	if (bytes_are_zero(reading->buffer, size)) {
		memset(&build->ids[at], 0, sizeof(build->ids[at]));
		return 0;
	}
	r = store_put(reading->thread, CHUNK_DATA, reading->buffer, size,
		      &build->ids[at], &put, err);
	if (r || !put.is_new)
		return r;
	reading->totals.new_chunks++;
	reading->totals.new_content_bytes += size;
	if (tree->progress) {
		progress_add(&tree->progress->unique_bytes, size);
		progress_add(&tree->progress->stored_bytes, put.stored_bytes);
	}
	return 0;
}

static int reading_init(struct reading *reading, struct build *build,
			unsigned worker, struct err *err)
{
	const struct live_tree *tree = build->tree;

	memset(reading, 0, sizeof(*reading));
	reading->build = build;
	reading->thread = tree->threads[worker];
	reading->buffer = segment_buffer(tree->volume->chunk_log2, err);
	if (!reading->buffer)
		return -ENOMEM;
	if (tree->layer)
		return 0;
	reading->queue = image_queue_new(tree->live->image, 8, err);
	return reading->queue ? 0 : err && err->code ? err->code : -ENOMEM;
}

static int read_worker(void *arg, unsigned worker, struct err *err)
{
	struct build *build = arg;
	struct snapshot_totals *to = build->tree->totals;
	struct reading reading;
	int r = reading_init(&reading, build, worker, err);

	while (!r && !atomic_load(&build->failed)) {
		size_t at = atomic_fetch_add(&build->taken, 1);

		if (at >= build->id_count)
			break;
		r = do_chunk(&reading, at, err);
	}
	if (r)
		atomic_store(&build->failed, true);
	image_queue_free(reading.queue);
	free(reading.buffer);
	pthread_mutex_lock(&build->lock);
	to->scanned_bytes += reading.totals.scanned_bytes;
	to->new_chunks += reading.totals.new_chunks;
	to->new_content_bytes += reading.totals.new_content_bytes;
	pthread_mutex_unlock(&build->lock);
	return r;
}

/* ---- ids in order ---- */

static void note_appended(struct build *build, uint64_t count)
{
	struct vms_progress *progress = build->tree->progress;

	build->appended += count;
	if (progress)
		progress_add(&progress->done_bytes,
			     count << build->tree->volume->chunk_log2);
}

static int append_holes(struct build *build, uint64_t count, struct err *err)
{
	int r = tree_builder_append_holes(build->builder,
					  build->tree->threads[0], count, err);

	if (!r)
		note_appended(build, count);
	return r;
}

/* Some of the base's ids from `appended` on, up to `end`. */
static int append_old_run(struct build *build, uint64_t end, struct err *err)
{
	const struct live_tree *tree = build->tree;
	struct id ids[NODE_FANOUT];
	uint64_t at = build->appended, data = build->old_count, count;
	int r = tree_reader_next_data(build->old, at, &data, NULL, NULL, err);

	if (r)
		return r;
	if (data > at)
		return append_holes(build, min_u64(data, end) - at, err);
	count = min_u64(NODE_FANOUT - at % NODE_FANOUT, end - at);
	r = tree_reader_ids(build->old, at, count, ids, NULL, NULL, err);
	if (!r)
		r = tree_builder_append(build->builder, tree->threads[0], ids,
					count, err);
	for (uint64_t i = 0; i < count && !r; i++) {
		if (!id_is_null(&ids[i]))
			tree->totals->unchanged_bytes +=
				volume_chunk_bytes(tree->volume, at + i);
	}
	if (!r)
		note_appended(build, count);
	return r;
}

static int append_old(struct build *build, uint64_t end, struct err *err)
{
	int r = 0;

	while (!r && build->appended < end) {
		r = progress_check(build->tree->progress, err);
		if (r)
			break;
		if (!build->old || build->appended >= build->old_count)
			r = append_holes(build, end - build->appended, err);
		else
			r = append_old_run(build,
					   min_u64(end, build->old_count), err);
	}
	return r;
}

static int append_piece(struct build *build, const struct piece *piece,
			struct err *err)
{
	int r = append_old(build, piece->first, err);

	if (r)
		return r;
	if (piece->kind == PIECE_HOLE)
		return append_holes(build, piece->count, err);
	r = tree_builder_append(build->builder, build->tree->threads[0],
				&build->ids[piece->ids], piece->count, err);
	if (!r)
		note_appended(build, piece->count);
	return r;
}

static int batch_finish(struct build *build, struct err *err)
{
	unsigned workers = build->tree->vms->workers;
	int r = 0;

	atomic_store(&build->taken, 0);
	if (build->id_count)
		r = pool_run((unsigned)min_u64(workers, build->id_count),
			     read_worker, build, err);
	for (size_t i = 0; i < build->piece_count && !r; i++)
		r = append_piece(build, &build->pieces[i], err);
	build->piece_count = 0;
	build->id_count = 0;
	return r;
}

/* ---- from runs to pieces ---- */

static int add_piece(struct build *build, enum piece_kind kind, uint64_t first,
		     uint64_t count, struct err *err)
{
	struct piece *last = build->piece_count
				     ? &build->pieces[build->piece_count - 1]
				     : NULL;
	int r = 0;

	if (build->piece_count == BATCH_PIECES ||
	    build->id_count + (kind == PIECE_READ ? count : 0) > BATCH_CHUNKS) {
		r = batch_finish(build, err);
		last = NULL;
	}
	if (r)
		return r;
	if (last && last->kind == kind && last->first + last->count == first)
		last->count += count;
	else
		build->pieces[build->piece_count++] =
			(struct piece){ .kind = kind,
					.first = first,
					.count = count,
					.ids = build->id_count };
	for (uint64_t i = 0; i < count && kind == PIECE_READ; i++)
		build->numbers[build->id_count++] = first + i;
	build->next = first + count;
	return 0;
}

/* Chunks [first, end), but for those that have come already. */
static int add_chunks(struct build *build, enum piece_kind kind, uint64_t first,
		      uint64_t end, struct err *err)
{
	uint64_t edge = build->edge;
	int r = 0;

	first = max_u64(first, build->next);
	if (edge < first && edge >= build->next && first < end)
		r = add_piece(build, PIECE_READ, edge, 1, err);
	if (kind == PIECE_HOLE && first < end && !r)
		return add_piece(build, kind, first, end - first, err);
	for (; first < end && !r; first += min_u64(end - first, BATCH_CHUNKS))
		r = add_piece(build, kind, first,
			      min_u64(end - first, BATCH_CHUNKS), err);
	return r;
}

static int add_run(void *arg, uint64_t offset, uint64_t length, bool zero,
		   struct err *err)
{
	struct build *build = arg;
	const struct volume *volume = build->tree->volume;
	unsigned log2 = volume->chunk_log2;
	uint64_t end = min_u64(offset + length, volume->size_bytes);
	uint64_t first = offset >> log2;
	uint64_t last = div_up(end, 1ULL << log2);
	uint64_t whole_first = div_up(offset, 1ULL << log2);
	uint64_t whole_last = end == volume->size_bytes ? last : end >> log2;
	int r;

	if (offset >= end)
		return 0;
	if (!zero || whole_first >= whole_last)
		return add_chunks(build, PIECE_READ, first, last, err);
	r = add_chunks(build, PIECE_READ, first, whole_first, err);
	if (!r)
		r = add_chunks(build, PIECE_HOLE, whole_first, whole_last, err);
	if (!r)
		r = add_chunks(build, PIECE_READ, whole_last, last, err);
	return r;
}

/* What no layer has, of a base whose ids are of no use: all its data. */
static int add_base(struct build *build, uint64_t offset, uint64_t length,
		    struct err *err)
{
	int r = 0;

	if (build->old)
		return 0;
	while (!r && length) {
		struct image_extent extent = { 0 };

		r = vms_live_extent(build->tree->live, offset, length, &extent,
				    err);
		if (!r && extent.kind == IMAGE_EXTENT_BASE)
			r = add_run(build, offset, extent.length, false, err);
		offset += extent.length;
		length -= extent.length;
	}
	return r;
}

/* As image_sealed_extents(), for an image that stands still. */
static int walk_whole(struct build *build, struct err *err)
{
	struct image *image = build->tree->live->image;
	uint64_t size = build->tree->volume->size_bytes, at = 0;
	int r = 0;

	while (!r && at < size) {
		struct image_extent extent;

		r = image_extent(image, at, size - at, &extent, err);
		if (r)
			break;
		if (extent.kind == IMAGE_EXTENT_BASE)
			r = add_base(build, at, extent.length, err);
		else if (extent.layer)
			r = add_run(build, at, extent.length,
				    extent.kind == IMAGE_EXTENT_ZERO, err);
		at += extent.length;
	}
	return r;
}

static int build_all(struct build *build, struct err *err)
{
	const struct live_tree *tree = build->tree;
	struct tree_totals totals;
	int r;

	if (tree->layer)
		r = image_sealed_extents(tree->live->image, tree->layer,
					 add_run, build, err);
	else
		r = walk_whole(build, err);
	if (!r && build->edge != UINT64_MAX && build->edge >= build->next)
		r = add_piece(build, PIECE_READ, build->edge, 1, err);
	if (!r)
		r = batch_finish(build, err);
	if (!r)
		r = append_old(build, build->chunk_count, err);
	if (!r)
		r = tree_builder_finish(build->builder, tree->threads[0],
					&tree->volume->root, &totals, err);
	return r;
}

static int build_open(struct build *build, struct err *err)
{
	const struct live_tree *tree = build->tree;
	struct volume old = live_base_volume(&tree->live->info);
	uint64_t shorter = min_u64(old.size_bytes, tree->volume->size_bytes);
	int r;

	build->chunk_count = volume_chunk_count(tree->volume);
	build->edge = UINT64_MAX;
	r = tree_builder_new(&build->builder, build->chunk_count, err);
	if (r || !tree->keep_ids || !tree->live->info.present)
		return r;
	build->old_count = volume_chunk_count(&old);
	if (old.size_bytes != tree->volume->size_bytes &&
	    shorter & (volume_chunk_size(&old) - 1))
		build->edge = shorter >> old.chunk_log2;
	return tree_reader_new(&build->old, tree->threads[0], &old.root,
			       build->old_count, err);
}

int live_tree_build(const struct live_tree *tree, struct err *err)
{
	struct build *build = NULL;
	int r = alloc_array(&build, 1, sizeof(*build), err);

	if (r)
		return r;
	build->tree = tree;
	pthread_mutex_init(&build->lock, NULL);
	r = build_open(build, err);
	if (!r)
		r = build_all(build, err);
	tree_reader_free(build->old);
	tree_builder_free(build->builder);
	pthread_mutex_destroy(&build->lock);
	free(build);
	return r;
}
