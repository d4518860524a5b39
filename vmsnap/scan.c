/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order-keeping middle of a backup. Workers finish segments out of order;
 * the tree builder wants ids in order. Whoever completes the oldest open
 * segment drains all that stand complete behind it; one drainer at a time, and
 * the lock is not held while it stores nodes.
 */
#include <errno.h>
#include <pthread.h>

#include "vmsnap/scan.h"

#define RING 64u

struct scan {
	struct source *source;
	const struct volume *volume;
	struct vms_progress *progress;
	uint64_t chunk_count;
	struct tree_builder *tree; /* the drainer's */
	struct tag_writer *tags;   /* the drainer's */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t moved;
	uint64_t cursor;     /* next chunk to deal out */
	uint64_t data_start; /* bytes: the extent found last */
	uint64_t data_end;
	uint64_t head, next; /* ring positions, ever growing */
	bool draining;
	bool failed;
	struct segment ring[RING];
};

int scan_new(struct scan **out, struct source *source,
	     const struct volume *volume, struct vms_progress *progress,
	     struct err *err)
{
	struct scan *scan = NULL;
	int r = alloc_array(&scan, 1, sizeof(*scan), err);

	if (r)
		return r;
	scan->source = source;
	scan->volume = volume;
	scan->progress = progress;
	scan->chunk_count = volume_chunk_count(volume);
	pthread_mutex_init(&scan->lock, NULL);
	pthread_cond_init(&scan->moved, NULL);
	r = tree_builder_new(&scan->tree, scan->chunk_count, err);
	if (!r)
		r = tag_writer_new(&scan->tags, scan->chunk_count, err);
	if (r) {
		scan_free(scan);
		return r;
	}
	*out = scan;
	return 0;
}

void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	tree_builder_free(scan->tree);
	tag_writer_free(scan->tags);
	pthread_mutex_destroy(&scan->lock);
	pthread_cond_destroy(&scan->moved);
	free(scan);
}

static int segment_append(struct scan *scan, const struct segment *segment,
			  struct store_thread *thread, struct err *err)
{
	uint64_t bytes = segment->count << scan->volume->chunk_log2;
	int r;

	if (segment->is_hole) {
		r = tree_builder_append_holes(scan->tree, thread,
					      segment->count, err);
		if (!r)
			r = tag_writer_append_holes(scan->tags, thread,
						    segment->count, err);
	} else {
		r = tree_builder_append(scan->tree, thread, segment->ids,
					segment->count, err);
		if (!r)
			r = tag_writer_append(scan->tags, thread, segment->tags,
					      segment->count, err);
	}
	if (!r && scan->progress)
		progress_add(
			&scan->progress->done_bytes,
			min_u64(bytes, scan->volume->size_bytes -
					       (segment->first
						<< scan->volume->chunk_log2)));
	return r;
}

/* Called and returns with the lock held. */
static int scan_drain(struct scan *scan, struct store_thread *thread,
		      struct err *err)
{
	int r = 0;

	if (scan->draining)
		return 0;
	scan->draining = true;
	while (!r && !scan->failed && scan->head < scan->next &&
	       scan->ring[scan->head % RING].done) {
		pthread_mutex_unlock(&scan->lock);
		r = segment_append(scan, &scan->ring[scan->head % RING], thread,
				   err);
		pthread_mutex_lock(&scan->lock);
		scan->head++;
		pthread_cond_broadcast(&scan->moved);
	}
	scan->draining = false;
	return r;
}

static struct segment *scan_slot(struct scan *scan, uint64_t count, bool hole)
{
	struct segment *segment = &scan->ring[scan->next++ % RING];

	segment->first = scan->cursor;
	segment->count = count;
	segment->is_hole = hole;
	segment->done = hole;
	scan->cursor += count;
	return segment;
}

/*
 * One step with the lock held: 1 and a data segment, 2 after a hole was dealt
 * with, 0 at the end.
 */
static int scan_step(struct scan *scan, struct segment **out, struct err *err)
{
	unsigned log2 = scan->volume->chunk_log2;
	uint64_t at = scan->cursor << log2;
	uint64_t count;

	if (scan->cursor == scan->chunk_count)
		return 0;
	if (at >= scan->data_end) {
		int r = source_next_data(scan->source, at, &scan->data_start,
					 &scan->data_end, err);
		if (r)
			return r;
	}
	if (scan->data_start >= scan->volume->size_bytes)
		count = scan->chunk_count - scan->cursor;
	else if (scan->data_start > at)
		count = (scan->data_start >> log2) - scan->cursor;
	else
		count = 0;
	if (count) {
		scan_slot(scan, count, true);
		return 2;
	}
	count = div_up(scan->data_end, 1ULL << log2) - scan->cursor;
	*out = scan_slot(scan, min_u64(count, segment_chunks(log2)), false);
	return 1;
}

static int segment_read_stream(struct scan *scan, struct segment *segment,
			       void *buffer, struct err *err)
{
	uint64_t at = segment->first << scan->volume->chunk_log2;
	uint64_t length = segment->count << scan->volume->chunk_log2;

	length = min_u64(length, scan->volume->size_bytes - at);
	return source_stream_read(scan->source, buffer, length, err);
}

int scan_next(struct scan *scan, bool wait, void *buffer,
	      struct store_thread *thread, struct segment **out,
	      struct err *err)
{
	int r = progress_check(scan->progress, err);

	pthread_mutex_lock(&scan->lock);
	while (!r) {
		if (scan->failed)
			break;
		if (scan->next - scan->head == RING) {
			if (!wait) {
				r = -EAGAIN;
				break;
			}
			pthread_cond_wait(&scan->moved, &scan->lock);
			continue;
		}
		r = scan_step(scan, out, err);
		if (r == 0 || r == 2) {
			int end = r == 0;

			r = scan_drain(scan, thread, err);
			if (end)
				break;
		}
	}
	if (r == 1 && scan->source->is_stream) {
		int r2 = segment_read_stream(scan, *out, buffer, err);

		r = r2 ? r2 : r;
	}
	pthread_mutex_unlock(&scan->lock);
	return r;
}

int scan_complete(struct scan *scan, struct segment *segment,
		  struct store_thread *thread, struct err *err)
{
	int r;

	pthread_mutex_lock(&scan->lock);
	segment->done = true;
	r = scan_drain(scan, thread, err);
	pthread_mutex_unlock(&scan->lock);
	return r;
}

void scan_fail(struct scan *scan)
{
	pthread_mutex_lock(&scan->lock);
	scan->failed = true;
	pthread_cond_broadcast(&scan->moved);
	pthread_mutex_unlock(&scan->lock);
}

int scan_finish(struct scan *scan, struct store_thread *thread, struct id *root,
		struct id *tags, struct err *err)
{
	struct tree_totals totals;
	int r;

	r = tree_builder_finish(scan->tree, thread, root, &totals, err);
	if (!r)
		r = tag_writer_finish(scan->tags, thread, tags, err);
	return r;
}
