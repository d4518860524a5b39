/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a live image differs from another, or from a snapshot's disk: what two
 * snapshots of them would show, without making any. Chunks that a layer has a
 * part of are compared by content. Of the others, up to the end of the shorter
 * disk, the trees of the bases tell. Beyond it, and where trees can't be
 * compared, it is the content again, but for what both know to be zeros.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/diff.h"
#include "vmsnap/live.h"

#define NO_CHUNK UINT64_MAX

struct side {
	struct volume disk; /* name and size */
	struct volume base; /* its tree */
	bool has_base;
	struct vms_live *live; /* or reader */
	struct image_queue *queue;
	struct vms_reader *reader;
	uint8_t *content; /* a segment */
	/* The next range that a layer has, if it ends after where we are. */
	uint64_t touched_from, touched_to;
	uint64_t edge; /* the chunk that the base's end cuts, or NO_CHUNK */
};

struct image_diff {
	struct vms *vms; /* NULL: no side has a base */
	struct vms_cache *cache;
	struct side sides[2];
	struct diff_disk out;
	unsigned unit_log2; /* in what ranges are told */
	uint64_t middle;    /* up to there the trees tell */
	uint64_t at;        /* all before is done */
};

/* ---- sides ---- */

static int side_open_image(struct side *side, struct vms_live *live,
			   struct err *err)
{
	side->live = live;
	side->has_base = live->info.present;
	side->base = live_base_volume(&live->info);
	side->disk = side->base;
	side->disk.size_bytes = image_size(live->image);
	side->queue = image_queue_new(live->image, 8, err);
	return side->queue ? 0 : err && err->code ? err->code : -ENOMEM;
}

static int side_open(struct image_diff *diff, struct side *side,
		     const struct vms_diff_side *from, const char *otherwise,
		     struct err *err)
{
	const struct volume *volume;
	int r;

	side->edge = NO_CHUNK;
	if (from->live)
		return side_open_image(side, from->live, err);
	r = live_find_volume(from->snapshot, from->disk, otherwise, &volume,
			     err);
	if (r)
		return r;
	side->disk = side->base = *volume;
	side->has_base = true;
	return vms_reader_open(&side->reader, diff->vms, diff->cache, volume,
			       err);
}

static void side_close(struct side *side)
{
	image_queue_free(side->queue);
	vms_reader_close(side->reader);
	free(side->content);
}

/* To side->content, zeros past the end. Both are multiples of 512. */
static int side_read(struct side *side, size_t length, uint64_t offset,
		     struct err *err)
{
	uint64_t size = side->disk.size_bytes;
	size_t there =
		offset < size ? (size_t)min_u64(length, size - offset) : 0;
	int r = 0;

	memset(side->content + there, 0, length - there);
	if (!there)
		return 0;
	if (side->reader)
		return vms_reader_read(side->reader, side->content, there,
				       offset, err);
	r = image_read(side->queue, side->content, there, offset);
	return r ? err_sys(err, r,
			   "image '%s': reading %zu bytes at offset %llu",
			   side->live->path, there, (unsigned long long)offset)
		 : 0;
}

/* How far from `offset` on it is known to be zeros, up to `length`. */
static int side_zeros(struct side *side, uint64_t offset, uint64_t length,
		      uint64_t *zeros, struct err *err)
{
	uint64_t size = side->disk.size_bytes, run = 0;
	struct image_extent extent = { 0 };
	bool is_zero = true;
	int r;

	*zeros = length;
	if (offset >= size)
		return 0;
	if (side->reader) {
		r = vms_reader_extent(side->reader, offset, size - offset,
				      &is_zero, &run, err);
	} else {
		r = vms_live_extent(side->live, offset, size - offset, &extent,
				    err);
		is_zero = extent.kind == IMAGE_EXTENT_ZERO;
		run = extent.length;
	}
	if (!is_zero)
		*zeros = 0;
	else if (offset + run < size)
		*zeros = min_u64(run, length);
	return r;
}

/* ---- by content ---- */

/* [from, to): whole units, but at the end. */
static int compare(struct image_diff *diff, uint64_t from, uint64_t to,
		   struct err *err)
{
	const size_t unit = (size_t)1 << diff->unit_log2;
	int r = 0;

	for (size_t step; !r && from < to; from += step) {
		step = (size_t)min_u64(segment_bytes(diff->unit_log2),
				       to - from);
		r = diff_reached(&diff->out, from, err);
		if (!r)
			r = side_read(&diff->sides[0], step, from, err);
		if (!r)
			r = side_read(&diff->sides[1], step, from, err);
		for (size_t at = 0; !r && at < step; at += unit) {
			if (memcmp(diff->sides[0].content + at,
				   diff->sides[1].content + at,
				   min_u64(unit, step - at)))
				r = diff_found(&diff->out, from + at,
					       from + at + unit, err);
		}
	}
	return r;
}

/* From the middle on. */
static int compare_rest(struct image_diff *diff, struct err *err)
{
	uint64_t end = max_u64(diff->sides[0].disk.size_bytes,
			       diff->sides[1].disk.size_bytes);
	int r = 0;

	for (uint64_t at = diff->middle, step; !r && at < end; at += step) {
		uint64_t a = 0, b = 0;

		r = diff_reached(&diff->out, at, err);
		if (!r)
			r = side_zeros(&diff->sides[0], at, end - at, &a, err);
		if (!r && a)
			r = side_zeros(&diff->sides[1], at, a, &b, err);
		if (r)
			break;
		step = b;
		if (at + step < end)
			step = step >> diff->unit_log2 << diff->unit_log2;
		if (step)
			continue;
		step = min_u64(segment_bytes(diff->unit_log2), end - at);
		r = compare(diff, at, at + step, err);
	}
	return r;
}

/* ---- by the trees ---- */

/* The next range from `at` on that a layer has; middle: none. */
static int side_touched(struct image_diff *diff, struct side *side,
			struct err *err)
{
	uint64_t at = diff->at;
	struct image_extent extent;

	if (!side->live) {
		side->touched_from = side->touched_to = diff->middle;
		return 0;
	}
	if (side->touched_to > at)
		return 0;
	while (at < diff->middle) {
		int r = image_extent(side->live->image, at, diff->middle - at,
				     &extent, err);

		if (r)
			return r;
		if (extent.layer)
			break;
		at += extent.length;
	}
	side->touched_from = at;
	side->touched_to =
		at < diff->middle ? at + extent.length : diff->middle;
	return 0;
}

/* No layer has any of [at, to). */
static int untouched(struct image_diff *diff, uint64_t to, bool differs,
		     struct err *err)
{
	int r = 0;

	while (!r && differs && diff->at < to) {
		uint64_t chunk = diff->at >> diff->unit_log2, end = to;

		/* One that is shorter has another id, and may be the same. */
		for (unsigned n = 0; n < 2; n++) {
			uint64_t edge = diff->sides[n].edge;

			if (edge == chunk)
				end = (chunk + 1) << diff->unit_log2;
			else if (edge != NO_CHUNK && edge > chunk)
				end = min_u64(end, edge << diff->unit_log2);
		}
		if (chunk == diff->sides[0].edge ||
		    chunk == diff->sides[1].edge)
			r = compare(diff, diff->at, end, err);
		else
			r = diff_found(&diff->out, diff->at, end, err);
		diff->at = end;
	}
	diff->at = max_u64(diff->at, to);
	return r;
}

/* Up to `to`; but for what layers have, the bases differ there or not. */
static int advance(struct image_diff *diff, uint64_t to, bool differs,
		   struct err *err)
{
	const uint64_t unit = 1ULL << diff->unit_log2;
	int r = 0;

	to = min_u64(div_up(to, unit) * unit, diff->middle);
	while (!r && diff->at < to) {
		const struct side *first = &diff->sides[0];
		uint64_t from, end;

		r = side_touched(diff, &diff->sides[0], err);
		if (!r)
			r = side_touched(diff, &diff->sides[1], err);
		if (r)
			break;
		if (diff->sides[1].touched_from < first->touched_from)
			first = &diff->sides[1];
		from = max_u64(first->touched_from & -unit, diff->at);
		if (from >= to)
			return untouched(diff, to, differs, err);
		end = min_u64(div_up(first->touched_to, unit) * unit, to);
		r = untouched(diff, from, differs, err);
		if (!r)
			r = compare(diff, from, end, err);
		diff->at = end;
	}
	return r;
}

static int tree_range(void *arg, const char *disk, uint64_t offset,
		      uint64_t length, struct err *err)
{
	struct image_diff *diff = arg;
	int r = advance(diff, offset, false, err);

	(void)disk;
	return r ? r : advance(diff, offset + length, true, err);
}

static int compare_trees(struct image_diff *diff, struct err *err)
{
	const struct volume *a = &diff->sides[0].base;
	const struct volume *b = &diff->sides[1].base;
	int r = diff_volumes(diff->vms, a, b, tree_range, diff, err);

	return r ? r : advance(diff, diff->middle, false, err);
}

/* ---- the whole ---- */

static void note_edge(struct side *side)
{
	if (side->base.size_bytes & ((1ULL << side->base.chunk_log2) - 1))
		side->edge = side->base.size_bytes >> side->base.chunk_log2;
}

/* What the ranges are made of, and how far the trees tell. */
static void plan(struct image_diff *diff)
{
	struct side *a = &diff->sides[0], *b = &diff->sides[1];
	uint64_t shorter = min_u64(a->disk.size_bytes, b->disk.size_bytes);

	/* No base is one without a byte; its chunks may have any size. */
	if (!a->has_base)
		a->base.chunk_log2 = b->has_base ? b->base.chunk_log2 : 16;
	if (!b->has_base)
		b->base.chunk_log2 = a->base.chunk_log2;
	diff->unit_log2 = min_u64(a->base.chunk_log2, b->base.chunk_log2) & 31;
	note_edge(a);
	note_edge(b);
	if (diff->vms && a->base.chunk_log2 == b->base.chunk_log2)
		diff->middle = shorter >> diff->unit_log2 << diff->unit_log2;
}

static int run(struct image_diff *diff, struct err *err)
{
	uint64_t end = max_u64(diff->sides[0].disk.size_bytes,
			       diff->sides[1].disk.size_bytes);
	int r = 0;

	plan(diff);
	for (unsigned n = 0; n < 2; n++) {
		diff->sides[n].content = segment_buffer(diff->unit_log2, err);
		if (!diff->sides[n].content)
			return -ENOMEM;
	}
	diff->out.a = &diff->sides[0].disk;
	diff->out.b = &diff->sides[1].disk;
	if (diff->out.progress)
		atomic_store(&diff->out.progress->total_bytes, end);
	if (diff->middle)
		r = compare_trees(diff, err);
	if (!r)
		r = compare_rest(diff, err);
	if (!r)
		r = diff_reached(&diff->out, end, err);
	return r ? r : diff_flush(&diff->out, err);
}

static int open_sides(struct image_diff *diff, const struct vms_diff_side *a,
		      const struct vms_diff_side *b, struct err *err)
{
	/* The image first: its name is what the other is looked up by. */
	unsigned n = a->live ? 0 : 1;
	const struct vms_diff_side *from[2] = { a, b };
	const struct vms_live *live = from[n]->live;
	int r = 0;

	if (diff->vms)
		r = vms_cache_new(&diff->cache, 0, err);
	if (!r)
		r = side_open(diff, &diff->sides[n], from[n], NULL, err);
	return r ? r
		 : side_open(diff, &diff->sides[!n], from[!n],
			     live->info.present ? live->info.disk : NULL, err);
}

int vms_diff_image(struct vms *vms, const struct vms_diff_side *a,
		   const struct vms_diff_side *b, vms_diff_fn *fn, void *arg,
		   struct vms_progress *progress, struct vms_diff_disk *out,
		   struct err *err)
{
	struct vms_diff_disk made = { .in_a = true, .in_b = true };
	struct image_diff diff = {
		.vms = vms,
		.out = { .fn = fn,
			 .arg = arg,
			 .out = &made,
			 .progress = progress },
	};
	int r = open_sides(&diff, a, b, err);

	if (!r)
		r = run(&diff, err);
	memcpy(made.name, diff.sides[0].disk.name, sizeof(made.name));
	made.size_a = diff.sides[0].disk.size_bytes;
	made.size_b = diff.sides[1].disk.size_bytes;
	side_close(&diff.sides[0]);
	side_close(&diff.sides[1]);
	vms_cache_free(diff.cache);
	if (!r)
		*out = made;
	return r;
}
