/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where two snapshots differ. With the same chunk size the trees are walked
 * from the root down, only where they differ; with other sizes ids say nothing,
 * and the content is compared. A disk that is longer in one of them: its data
 * beyond the end of the shorter differs, its holes do not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/diff.h"

static uint64_t larger_size(const struct diff_disk *diff)
{
	return max_u64(diff->a->size_bytes, diff->b->size_bytes);
}

int diff_reached(struct diff_disk *diff, uint64_t offset, struct err *err)
{
	if (!diff->progress)
		return 0;
	atomic_store(&diff->progress->done_bytes,
		     diff->before + min_u64(offset, larger_size(diff)));
	return progress_check(diff->progress, err);
}

int diff_found(struct diff_disk *diff, uint64_t start, uint64_t end,
	       struct err *err)
{
	int r = diff_reached(diff, start, err);

	end = min_u64(end, larger_size(diff));
	if (r || start >= end)
		return r;
	if (diff->end == start && diff->end > diff->start) {
		diff->end = end;
		return 0;
	}
	r = diff_flush(diff, err);
	diff->start = start;
	diff->end = end;
	return r;
}

int diff_flush(struct diff_disk *diff, struct err *err)
{
	uint64_t start = diff->start, length = diff->end - diff->start;

	if (!length)
		return 0;
	diff->start = diff->end = 0;
	diff->out->differing_bytes += length;
	return diff->fn ? diff->fn(diff->arg, diff->a->name, start, length, err)
			: 0;
}

/* ---- the same chunk size ---- */

struct tree_part {
	struct diff_disk *diff;
	unsigned chunk_log2;
};

static int tree_differs(void *arg, uint64_t first, uint64_t count,
			const struct id *a, const struct id *b, struct err *err)
{
	struct tree_part *part = arg;

	(void)a;
	(void)b;
	return diff_found(part->diff, first << part->chunk_log2,
			  (first + count) << part->chunk_log2, err);
}

/* The node `levels` down the left side of a tree, which covers the first
 * chunks; the null id where there is a hole. */
static int left_node(struct store_thread *thread, struct id *node,
		     unsigned level, unsigned wanted, struct err *err)
{
	autofree uint8_t *content = NULL;
	struct id ids[NODE_FANOUT];
	uint32_t size;
	int r = alloc_array(&content, NODE_SIZE_MAX, 1, err);

	for (; level > wanted && !id_is_null(node) && !r; level--) {
		r = store_get(thread, CHUNK_NODE, node, content, NODE_SIZE_MAX,
			      &size, err);
		if (!r)
			r = node_decode(content, size, level, NODE_FANOUT, ids,
					err);
		if (!r)
			*node = ids[0];
	}
	return r;
}

/* All data of `volume` from chunk `first` on. */
static int data_beyond(struct diff_disk *diff, const struct volume *volume,
		       uint64_t first, struct err *err)
{
	uint64_t count = volume_chunk_count(volume);
	struct tree_reader *reader = NULL;
	int r = tree_reader_new(&reader, diff->thread, &volume->root, count,
				err);

	while (!r && first < count) {
		r = tree_reader_next_data(reader, first, &first, NULL, NULL,
					  err);
		if (r || first >= count)
			break;
		r = diff_found(diff, first << volume->chunk_log2,
			       (first + 1) << volume->chunk_log2, err);
		first++;
	}
	tree_reader_free(reader);
	return r;
}

static int diff_trees(struct diff_disk *diff, struct err *err)
{
	const struct volume *longer = diff->a, *shorter = diff->b;
	struct tree_part part = { diff, diff->a->chunk_log2 };
	struct id root;
	uint64_t count, covered;
	unsigned levels;
	int r;

	if (volume_chunk_count(longer) < volume_chunk_count(shorter)) {
		longer = diff->b;
		shorter = diff->a;
	}
	count = volume_chunk_count(longer);
	levels = tree_levels(volume_chunk_count(shorter));
	covered = min_u64(count, 1ULL << (8 * levels));
	root = longer->root;
	r = left_node(diff->thread, &root, tree_levels(count), levels, err);
	/* A tree reads the same whatever holes are behind its end. */
	if (!r)
		r = tree_diff(diff->thread, &root, &shorter->root, covered,
			      tree_differs, &part, err);
	if (!r)
		r = data_beyond(diff, longer, covered, err);
	return r;
}

/* ---- disks ---- */

static int disk_pair(struct diff_disk *diff, struct err *err)
{
	int r;

	if (diff->a->chunk_log2 == diff->b->chunk_log2)
		r = diff_trees(diff, err);
	else
		r = diff_content(diff, err);
	if (!r)
		r = diff_reached(diff, larger_size(diff), err);
	diff->before += larger_size(diff);
	return r ? r : diff_flush(diff, err);
}

int diff_volumes(struct vms *vms, const struct volume *a,
		 const struct volume *b, vms_diff_fn *fn, void *arg,
		 struct err *err)
{
	struct vms_diff_disk out = { 0 };
	struct diff_disk diff = {
		.fn = fn,
		.arg = arg,
		.a = a,
		.b = b,
		.out = &out,
	};
	int r;

	diff.thread = store_thread_new(vms->store, err);
	r = diff.thread ? disk_pair(&diff, err) : -ENOMEM;
	store_thread_free(diff.thread);
	return r;
}

static void name_copy(struct vms_diff_disk *out, const struct volume *volume)
{
	memcpy(out->name, volume->name, sizeof(out->name));
}

static int disks_all(struct diff_disk *diff, const struct snapshot *a,
		     const struct snapshot *b, struct vms_diff_result *result,
		     struct err *err)
{
	int r = 0;

	for (size_t n = 0; n < a->volume_count && !r; n++) {
		struct vms_diff_disk *out = &result->disks[result->count++];

		name_copy(out, &a->volumes[n]);
		out->in_a = true;
		out->size_a = a->volumes[n].size_bytes;
		diff->a = &a->volumes[n];
		diff->b = snapshot_volume(b, out->name);
		diff->out = out;
		diff->start = diff->end = 0;
		if (!diff->b)
			continue;
		out->in_b = true;
		out->size_b = diff->b->size_bytes;
		r = disk_pair(diff, err);
	}
	for (size_t n = 0; n < b->volume_count && !r; n++) {
		struct vms_diff_disk *out;

		if (snapshot_volume(a, b->volumes[n].name))
			continue;
		out = &result->disks[result->count++];
		name_copy(out, &b->volumes[n]);
		out->in_b = true;
		out->size_b = b->volumes[n].size_bytes;
	}
	return r;
}

/* Of the disks that both have. */
static uint64_t total_bytes(const struct snapshot *a, const struct snapshot *b)
{
	uint64_t total = 0;

	for (size_t n = 0; n < a->volume_count; n++) {
		const struct volume *other =
			snapshot_volume(b, a->volumes[n].name);

		if (other)
			total += max_u64(a->volumes[n].size_bytes,
					 other->size_bytes);
	}
	return total;
}

int vms_diff(struct vms *vms, const struct snapshot *a,
	     const struct snapshot *b, vms_diff_fn *fn, void *arg,
	     struct vms_progress *progress, struct vms_diff_result *result,
	     struct err *err)
{
	struct diff_disk diff = { .fn = fn, .arg = arg, .progress = progress };
	struct vms_diff_result made = { 0 };
	int r = alloc_array(&made.disks, a->volume_count + b->volume_count,
			    sizeof(*made.disks), err);

	if (r)
		return r;
	if (progress)
		atomic_store(&progress->total_bytes, total_bytes(a, b));
	diff.thread = store_thread_new(vms->store, err);
	r = diff.thread ? disks_all(&diff, a, b, &made, err) : -ENOMEM;
	store_thread_free(diff.thread);
	if (r) {
		vms_diff_result_release(&made);
		return r;
	}
	*result = made;
	return 0;
}

void vms_diff_result_release(struct vms_diff_result *result)
{
	free(result->disks);
	memset(result, 0, sizeof(*result));
}
