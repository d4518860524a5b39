/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a volume with all workers. One tree reader, under a lock, deals out
 * segments; each worker gets its chunks with one call to the store, which reads
 * what lies together at once. A worker has two buffers, so that the sink may
 * still be writing one while the other is filled.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "vmsnap/fetch.h"

struct pass {
	const struct fetch *fetch;
	uint64_t chunk_count;
	pthread_mutex_t lock; /* all below, and *fetch->result */
	struct store_thread *thread;
	struct tree_reader *tree;
	uint64_t cursor;
	uint64_t sequence;
	bool failed;
};

static void pass_fail(struct pass *pass)
{
	pthread_mutex_lock(&pass->lock);
	pass->failed = true;
	pthread_mutex_unlock(&pass->lock);
	if (pass->fetch->sink->failed)
		pass->fetch->sink->failed(pass->fetch->arg);
}

/* Under the lock. 0: noted, go on; else the damage ends the pass. */
static int note_damage(struct pass *pass, uint64_t first, uint64_t count,
		       const struct err *why, struct err *err)
{
	const struct volume *volume = pass->fetch->volume;
	struct vms_restore_result *result = pass->fetch->result;
	uint64_t start = first << volume->chunk_log2;
	uint64_t end = min_u64((first + count) << volume->chunk_log2,
			       volume->size_bytes);
	int r = ranges_add(&result->damaged, start, end - start, err);

	if (r)
		return r;
	if (!result->first_damage.code)
		result->first_damage = *why;
	if (pass->fetch->skip_damaged)
		return 0;
	return err_set(err, -EBADMSG, "disk '%s', bytes %llu to %llu: %s",
		       volume->name, (unsigned long long)start,
		       (unsigned long long)end, why->text);
}

static void segment_states(struct fetch_segment *segment)
{
	for (unsigned i = 0; i < segment->count; i++)
		segment->states[i] = id_is_null(&segment->ids[i])
					     ? CHUNK_HOLE
					     : CHUNK_WANTED;
}

/* A damaged node: the segment becomes its whole range, as a hole to the
 * sink, and is noted. */
static int deal_damage(struct pass *pass, uint64_t bad_first,
		       uint64_t bad_count, const struct err *why,
		       struct fetch_segment *segment, struct err *err)
{
	uint64_t end = min_u64(bad_first + bad_count, pass->chunk_count);
	uint64_t from = max_u64(bad_first, pass->cursor);
	int r;

	if (why->code != -EBADMSG) {
		if (err)
			*err = *why;
		return why->code;
	}
	if (end <= from) { /* the reader must tell a range ahead of us */
		from = pass->cursor;
		end = pass->chunk_count;
	}
	r = note_damage(pass, from, end - from, why, err);
	if (r)
		return r;
	segment->first = pass->cursor;
	segment->count = end - pass->cursor;
	segment->is_hole = true;
	pass->cursor = end;
	return 1;
}

/* Under the lock: 1, 0 at the end, -errno. */
static int deal(struct pass *pass, struct fetch_segment *segment,
		struct err *err)
{
	const unsigned most = segment_chunks(pass->fetch->volume->chunk_log2);
	uint64_t bad_first = 0, bad_count = 0, found;
	struct err why = { 0 };

	if (pass->failed || pass->cursor >= pass->chunk_count)
		return 0;
	segment->sequence = pass->sequence;
	segment->first = pass->cursor;
	segment->is_hole = false;
	if (tree_reader_next_data(pass->tree, pass->cursor, &found, &bad_first,
				  &bad_count, &why))
		return deal_damage(pass, bad_first, bad_count, &why, segment,
				   err);
	if (found > pass->cursor) {
		segment->count = found - pass->cursor;
		segment->is_hole = true;
		pass->cursor = found;
		return 1;
	}
	/* To the next border, so that segments lie alike in every pass; no
	 * segment crosses the border of a node, so a damaged one covers it. */
	segment->count =
		min_u64(most - found % most, pass->chunk_count - found);
	if (tree_reader_ids(pass->tree, found, segment->count, segment->ids,
			    &bad_first, &bad_count, &why))
		return deal_damage(pass, bad_first, bad_count, &why, segment,
				   err);
	segment_states(segment);
	pass->cursor += segment->count;
	return 1;
}

/* The last chunk may be shorter than the others. */
static void progress_segment(const struct fetch *fetch,
			     const struct fetch_segment *segment)
{
	const struct volume *volume = fetch->volume;
	uint64_t start = segment->first << volume->chunk_log2;
	uint64_t bytes = segment->count << volume->chunk_log2;

	progress_add(&fetch->progress->done_bytes,
		     min_u64(bytes, volume->size_bytes - start));
}

static int take(struct pass *pass, struct fetch_segment *segment,
		struct err *err)
{
	int r;

	pthread_mutex_lock(&pass->lock);
	do {
		r = deal(pass, segment, err);
		if (r == 1 && segment->is_hole && pass->fetch->progress)
			progress_segment(pass->fetch, segment);
	} while (r == 1 && segment->is_hole && !pass->fetch->want_holes);
	if (r == 1)
		pass->sequence++;
	pthread_mutex_unlock(&pass->lock);
	return r;
}

/* What the store could not give becomes zeros, and is noted. */
static int mark_damaged(struct pass *pass, struct fetch_segment *segment,
			const struct store_read *reads, const unsigned *which,
			unsigned count, const struct err *why, struct err *err)
{
	bool any = false;
	int r = 0;

	for (unsigned i = 0; i < count && !r; i++) {
		unsigned k = which[i];

		if (!reads[i].result)
			continue;
		any = true;
		if (reads[i].result != -EBADMSG) {
			if (err)
				*err = reads[i].err;
			return reads[i].result;
		}
		memset(reads[i].content, 0, reads[i].content_size);
		segment->states[k] = CHUNK_DAMAGED;
		pthread_mutex_lock(&pass->lock);
		r = note_damage(pass, segment->first + k, 1, &reads[i].err,
				err);
		pthread_mutex_unlock(&pass->lock);
	}
	/* A failure that is no chunk's: nothing of this can be trusted. */
	if (!any)
		return err_set(err, why->code ? why->code : -EIO, "%s",
			       why->text);
	return r;
}

static int fill(struct pass *pass, struct store_thread *thread,
		struct fetch_segment *segment, struct store_read *reads,
		struct err *err)
{
	const struct volume *volume = pass->fetch->volume;
	unsigned which[FETCH_CHUNKS_MAX], wanted = 0;
	uint64_t data_bytes = 0;
	struct err first = { 0 };
	int r = 0;

	for (unsigned i = 0; i < segment->count; i++) {
		uint32_t size = volume_chunk_bytes(volume, segment->first + i);

		if (segment->states[i] != CHUNK_HOLE)
			data_bytes += size;
		if (segment->states[i] != CHUNK_WANTED)
			continue;
		reads[wanted].id = segment->ids[i];
		reads[wanted].kind = CHUNK_DATA;
		reads[wanted].content =
			segment->buffer + ((size_t)i << volume->chunk_log2);
		reads[wanted].content_size = size;
		reads[wanted].result = 0;
		which[wanted++] = i;
	}
	if (wanted && store_get_many(thread, reads, wanted, &first))
		r = mark_damaged(pass, segment, reads, which, wanted, &first,
				 err);
	pthread_mutex_lock(&pass->lock);
	pass->fetch->result->data_bytes += data_bytes;
	pthread_mutex_unlock(&pass->lock);
	return r;
}

static int segment_run(struct pass *pass, unsigned worker,
		       struct store_thread *thread,
		       struct fetch_segment *segment, struct store_read *reads,
		       struct err *err)
{
	const struct fetch *fetch = pass->fetch;
	const struct fetch_sink *sink = fetch->sink;
	int r = 0;

	if (segment->is_hole)
		return sink->after(fetch->arg, worker, segment, err);
	if (sink->reuse)
		r = sink->reuse(fetch->arg, worker, segment->turn, err);
	if (!r && sink->before)
		r = sink->before(fetch->arg, worker, thread, segment, err);
	if (!r)
		r = fill(pass, thread, segment, reads, err);
	if (!r)
		r = sink->after(fetch->arg, worker, segment, err);
	if (!r && fetch->progress)
		progress_segment(fetch, segment);
	return r;
}

struct worker {
	struct store_thread *thread;
	uint8_t *buffers[FETCH_BUFFERS];
	struct fetch_segment segments[FETCH_BUFFERS];
	struct store_read reads[FETCH_CHUNKS_MAX];
};

static int worker_loop(struct pass *pass, unsigned n, struct worker *worker,
		       struct err *err)
{
	unsigned turn = 0;

	for (;;) {
		struct fetch_segment *segment = &worker->segments[turn];
		int r = progress_check(pass->fetch->progress, err);

		if (!r)
			r = take(pass, segment, err);
		if (r <= 0)
			return r;
		segment->turn = turn;
		segment->buffer = worker->buffers[turn];
		r = segment_run(pass, n, worker->thread, segment, worker->reads,
				err);
		if (r)
			return r;
		turn = (turn + 1) % FETCH_BUFFERS;
	}
}

static int worker_run(void *arg, unsigned n, struct err *err)
{
	struct pass *pass = arg;
	const struct fetch *fetch = pass->fetch;
	struct worker *worker = NULL;
	int r = alloc_array(&worker, 1, sizeof(*worker), err);

	if (r)
		goto out;
	worker->thread = store_thread_new(fetch->vms->store, err);
	if (worker->thread)
		store_thread_read_once(worker->thread);
	else
		r = -ENOMEM;
	for (unsigned i = 0; i < FETCH_BUFFERS && !r; i++) {
		worker->buffers[i] =
			segment_buffer(fetch->volume->chunk_log2, err);
		if (!worker->buffers[i])
			r = -ENOMEM;
	}
	if (!r && fetch->sink->start)
		r = fetch->sink->start(fetch->arg, n, err);
	if (!r) {
		int r2 = 0;

		r = worker_loop(pass, n, worker, err);
		if (r) /* first: end() may wait for others */
			pass_fail(pass);
		if (fetch->sink->end)
			r2 = fetch->sink->end(fetch->arg, n, r ? NULL : err);
		r = r ? r : r2;
	}
out:
	if (r)
		pass_fail(pass);
	if (worker) {
		for (unsigned i = 0; i < FETCH_BUFFERS; i++)
			free(worker->buffers[i]);
		store_thread_free(worker->thread);
	}
	free(worker);
	return r;
}

int fetch_run(const struct fetch *fetch, struct err *err)
{
	struct pass pass = {
		.fetch = fetch,
		.chunk_count = volume_chunk_count(fetch->volume),
	};
	int r = 0;

	pass.thread = store_thread_new(fetch->vms->store, err);
	if (!pass.thread)
		return -ENOMEM;
	r = tree_reader_new(&pass.tree, pass.thread, &fetch->volume->root,
			    pass.chunk_count, err);
	if (!r) {
		pthread_mutex_init(&pass.lock, NULL);
		r = pool_run(fetch->vms->readers, worker_run, &pass, err);
		pthread_mutex_destroy(&pass.lock);
		tree_reader_free(pass.tree);
	}
	store_thread_free(pass.thread);
	ranges_sort(&fetch->result->damaged);
	return r;
}
