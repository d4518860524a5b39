/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restore: the sink that writes. To a file or device each worker writes its
 * own segments, the last one still under way while the next is fetched; to
 * a stream they take turns. --delta looks at what is there first and fetches
 * only what differs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/fetch.h"
#include "vmsnap/target.h"

#define ZERO_BYTES (1u << 20)

/* The writes of one buffer. */
struct batch {
	struct io_request requests[FETCH_CHUNKS_MAX];
	unsigned count;
};

struct writer {
	struct io_queue *queue;
	struct batch batches[FETCH_BUFFERS];
	uint8_t *there; /* --delta: what the target has; a segment */
};

struct run {
	const struct vms_restore *restore;
	struct vms_restore_result *result;
	struct vms *vms;
	const struct volume *volume;
	struct target target;
	struct writer *writers; /* one a worker */
	pthread_mutex_t lock;   /* result counts, stream turn, ended */
	pthread_cond_t turn;
	uint64_t next_sequence;
	uint64_t stream_at;
	bool ended;
};

static int words_write(const struct run *run, int r, uint64_t offset,
		       struct err *err)
{
	return err_sys(err, r, "writing '%s' at offset %llu",
		       run->restore->target, (unsigned long long)offset);
}

static void count_written(struct run *run, uint64_t bytes)
{
	pthread_mutex_lock(&run->lock);
	run->result->written_bytes += bytes;
	pthread_mutex_unlock(&run->lock);
}

/* ---- files and devices ---- */

static int write_start(void *arg, unsigned n, struct err *err)
{
	struct run *run = arg;
	struct writer *writer = &run->writers[n];
	struct vs_io *io = run->vms->io;

	writer->queue = io->ops->queue_new(io, 2 * FETCH_CHUNKS_MAX, err);
	if (!writer->queue)
		return -EIO;
	if (run->restore->delta) {
		writer->there = segment_buffer(run->volume->chunk_log2, err);
		if (!writer->there)
			return -ENOMEM;
	}
	return 0;
}

/* Wait until no write of this buffer is under way; a short or failed one is
 * done again by hand, so that the error is the true one. */
static int batch_wait(struct run *run, struct writer *writer, unsigned turn,
		      struct err *err)
{
	struct vs_io *io = run->vms->io;
	struct batch *batch = &writer->batches[turn];
	int failed = 0;

	for (unsigned i = 0; i < batch->count; i++) {
		struct io_request *request = &batch->requests[i];
		struct io_request *done;

		while (request->in_flight)
			io->ops->queue_reap(writer->queue, 1, &done, 1);
		if (failed || request->result == (ssize_t)request->length)
			continue;
		failed = request->result < 0 && request->result != -EAGAIN
				 ? (int)request->result
				 : io_write_full(
					   io, request->file, request->buffer,
					   request->length, request->offset);
		if (failed)
			words_write(run, failed, request->offset, err);
	}
	batch->count = 0;
	return failed;
}

static int write_reuse(void *arg, unsigned n, unsigned turn, struct err *err)
{
	struct run *run = arg;

	return batch_wait(run, &run->writers[n], turn, err);
}

static int write_end(void *arg, unsigned n, struct err *err)
{
	struct run *run = arg;
	int r = 0;

	for (unsigned i = 0; i < FETCH_BUFFERS; i++) {
		int r2 = batch_wait(run, &run->writers[n], i, r ? NULL : err);

		r = r ? r : r2;
	}
	return r;
}

/* A direct write is whole blocks; the buffer behind the last chunk of the disk
 * has room, and target_finish() cuts the file to its size. */
static size_t padded(const struct run *run, uint8_t *buffer, size_t length)
{
	size_t rest = length % IO_ALIGNMENT;

	if (!rest || run->target.kind != TARGET_FILE)
		return length;
	memset(buffer + length, 0, IO_ALIGNMENT - rest);
	return length + IO_ALIGNMENT - rest;
}

static void batch_write(struct run *run, struct writer *writer,
			struct fetch_segment *segment, uint64_t from,
			uint64_t to)
{
	const struct volume *volume = run->volume;
	struct batch *batch = &writer->batches[segment->turn];
	struct io_request *request = &batch->requests[batch->count++];
	uint64_t offset = (segment->first + from) << volume->chunk_log2;
	uint64_t end = min_u64((segment->first + to) << volume->chunk_log2,
			       volume->size_bytes);
	uint8_t *buffer =
		segment->buffer + ((size_t)from << volume->chunk_log2);

	*request = (struct io_request){
		.op = IO_OP_WRITE,
		.file = run->target.file,
		.buffer = buffer,
		.length = padded(run, buffer, (size_t)(end - offset)),
		.offset = offset,
	};
	run->vms->io->ops->queue_submit(writer->queue, request);
	count_written(run, end - offset);
}

/* Zeros where something else may stand: punched out, else written. */
static int zero_range(struct run *run, uint64_t offset, uint64_t length,
		      struct err *err)
{
	static const uint8_t zeros[ZERO_BYTES];
	struct vs_io *io = run->vms->io;
	int r = io->ops->punch(io, run->target.file, offset, length);

	if (!r) {
		count_written(run, length);
		return 0;
	}
	while (length) {
		size_t piece = (size_t)min_u64(length, sizeof(zeros));

		r = progress_check(run->restore->progress, err);
		if (r)
			return r;
		r = io_write_full(io, run->target.file, zeros, piece, offset);
		if (r)
			return words_write(run, r, offset, err);
		count_written(run, piece);
		offset += piece;
		length -= piece;
	}
	return 0;
}

static int range_is_zero(struct run *run, struct writer *writer,
			 uint64_t offset, uint64_t length, bool *zero,
			 struct err *err)
{
	size_t most = segment_bytes(run->volume->chunk_log2);

	*zero = false;
	while (length) {
		size_t piece = (size_t)min_u64(length, most);
		int r = io_read_full(run->vms->io, run->target.file,
				     writer->there, piece, offset);

		if (r)
			return err_sys(err, r, "reading '%s' at offset %llu",
				       run->restore->target,
				       (unsigned long long)offset);
		if (!bytes_are_zero(writer->there, piece))
			return 0;
		offset += piece;
		length -= piece;
	}
	*zero = true;
	return 0;
}

/* A hole of the disk over what the target has there. */
static int write_hole(struct run *run, struct writer *writer, uint64_t first,
		      uint64_t count, struct err *err)
{
	struct vs_io *io = run->vms->io;
	uint64_t at = first << run->volume->chunk_log2;
	uint64_t end = min_u64((first + count) << run->volume->chunk_log2,
			       run->volume->size_bytes);

	if (run->target.is_fresh)
		return 0;
	while (at < end) {
		uint64_t start = at, stop = end;
		bool zero = false;
		int r = progress_check(run->restore->progress, err);

		if (r)
			return r;
		r = io->ops->seek_data(io, run->target.file, at, &start, &stop);
		if (r == -ENXIO || (!r && start >= end))
			return 0;
		if (r)
			return err_sys(err, r, "looking for data in '%s'",
				       run->restore->target);
		/* Small steps, so that one byte does not zero a whole disk. */
		stop = min_u64(min_u64(stop, end), start + ZERO_BYTES);
		if (writer->there)
			r = range_is_zero(run, writer, start, stop - start,
					  &zero, err);
		if (!r && !zero)
			r = zero_range(run, start, stop - start, err);
		if (r)
			return r;
		at = stop;
	}
	return 0;
}

static int delta_before(void *arg, unsigned n, struct store_thread *thread,
			struct fetch_segment *segment, struct err *err)
{
	struct run *run = arg;
	const struct volume *volume = run->volume;
	struct writer *writer = &run->writers[n];
	uint64_t offset = segment->first << volume->chunk_log2;
	uint64_t end =
		min_u64((segment->first + segment->count) << volume->chunk_log2,
			volume->size_bytes);
	uint64_t same = 0;
	int r;

	if (run->target.is_fresh)
		return 0;
	r = io_read_full(run->vms->io, run->target.file, writer->there,
			 (size_t)(end - offset), offset);
	if (r)
		return err_sys(err, r, "reading '%s' at offset %llu",
			       run->restore->target,
			       (unsigned long long)offset);
	for (unsigned i = 0; i < segment->count; i++) {
		uint32_t size = volume_chunk_bytes(volume, segment->first + i);
		uint8_t *there =
			writer->there + ((size_t)i << volume->chunk_log2);
		struct id id;

		if (segment->states[i] != CHUNK_WANTED)
			continue;
		r = hasher_id(store_thread_hasher(thread), CHUNK_DATA, there,
			      size, &id, err);
		if (r)
			return r;
		if (id_equal(&id, &segment->ids[i])) {
			segment->states[i] = CHUNK_UNCHANGED;
			same += size;
		}
	}
	pthread_mutex_lock(&run->lock);
	run->result->unchanged_bytes += same;
	pthread_mutex_unlock(&run->lock);
	return 0;
}

static bool is_written(const struct run *run, enum chunk_state state)
{
	/* A damaged chunk's buffer is zero: a fresh file has that. */
	return state == CHUNK_WANTED ||
	       (state == CHUNK_DAMAGED && !run->target.is_fresh);
}

static int write_after(void *arg, unsigned n, struct fetch_segment *segment,
		       struct err *err)
{
	struct run *run = arg;
	struct writer *writer = &run->writers[n];
	uint64_t i = 0;
	int r = 0;

	if (segment->is_hole)
		return write_hole(run, writer, segment->first, segment->count,
				  err);
	while (i < segment->count && !r) {
		uint64_t from = i;

		if (is_written(run, segment->states[i])) {
			while (i < segment->count &&
			       is_written(run, segment->states[i]))
				i++;
			batch_write(run, writer, segment, from, i);
		} else {
			if (segment->states[i] == CHUNK_HOLE)
				r = write_hole(run, writer, segment->first + i,
					       1, err);
			i++;
		}
	}
	return r;
}

static const struct fetch_sink file_sink = {
	.start = write_start,
	.end = write_end,
	.reuse = write_reuse,
	.after = write_after,
};

static const struct fetch_sink delta_sink = {
	.start = write_start,
	.end = write_end,
	.reuse = write_reuse,
	.before = delta_before,
	.after = write_after,
};

/* ---- standard output ---- */

static int stream_write(struct run *run, const uint8_t *data, uint64_t length,
			struct err *err)
{
	while (length) {
		ssize_t n = write(run->target.file, data,
				  (size_t)min_u64(length, ZERO_BYTES));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(
				err, -errno,
				"writing to standard output at offset %llu",
				(unsigned long long)run->stream_at);
		data += n;
		length -= (uint64_t)n;
		run->stream_at += (uint64_t)n;
		run->result->written_bytes += (uint64_t)n;
	}
	return 0;
}

static int stream_zeros(struct run *run, uint64_t until, struct err *err)
{
	static const uint8_t zeros[ZERO_BYTES];
	int r = 0;

	while (run->stream_at < until && !r) {
		r = progress_check(run->restore->progress, err);
		if (!r)
			r = stream_write(
				run, zeros,
				min_u64(until - run->stream_at, sizeof(zeros)),
				err);
	}
	return r;
}

static int stream_segment(struct run *run, const struct fetch_segment *segment,
			  struct err *err)
{
	const struct volume *volume = run->volume;
	int r = 0;

	for (uint64_t i = 0; i < segment->count && !r; i++) {
		uint64_t number = segment->first + i;
		uint64_t offset = number << volume->chunk_log2;
		const uint8_t *data =
			segment->buffer + ((size_t)i << volume->chunk_log2);
		uint32_t size = volume_chunk_bytes(volume, number);

		if (segment->states[i] == CHUNK_HOLE)
			continue;
		r = stream_zeros(run, offset, err);
		if (!r)
			r = stream_write(run, data, size, err);
	}
	return r;
}

/* Segments go out in order: each waits for its turn. */
static int stream_after(void *arg, unsigned n, struct fetch_segment *segment,
			struct err *err)
{
	struct run *run = arg;
	int r = 0;

	(void)n;
	pthread_mutex_lock(&run->lock);
	while (run->next_sequence != segment->sequence && !run->ended)
		pthread_cond_wait(&run->turn, &run->lock);
	if (run->next_sequence == segment->sequence) {
		r = stream_segment(run, segment, err);
		run->next_sequence++;
	}
	pthread_cond_broadcast(&run->turn);
	pthread_mutex_unlock(&run->lock);
	return r;
}

static void stream_failed(void *arg)
{
	struct run *run = arg;

	pthread_mutex_lock(&run->lock);
	run->ended = true;
	pthread_cond_broadcast(&run->turn);
	pthread_mutex_unlock(&run->lock);
}

static const struct fetch_sink stream_sink = {
	.after = stream_after,
	.failed = stream_failed,
};

/* ---- the whole ---- */

static const struct volume *volume_choose(const struct vms_restore *restore,
					  struct err *err)
{
	const struct snapshot *snapshot = restore->snapshot;
	const struct volume *volume;

	if (!restore->disk) {
		if (snapshot->volume_count == 1)
			return &snapshot->volumes[0];
		err_set(err, -EINVAL,
			"'%s' has %zu disks; choose one with --disk",
			snapshot->name, snapshot->volume_count);
		return NULL;
	}
	volume = snapshot_volume(snapshot, restore->disk);
	if (!volume)
		err_set(err, -ENOENT, "'%s' has no disk '%s'", snapshot->name,
			restore->disk);
	return volume;
}

static int run_fetch(struct run *run, struct err *err)
{
	const struct vms_restore *restore = run->restore;
	struct fetch fetch = {
		.vms = run->vms,
		.volume = run->volume,
		.arg = run,
		.skip_damaged = restore->skip_damaged,
		.want_holes = !run->target.is_fresh,
		.progress = restore->progress,
		.result = run->result,
	};
	int r;

	if (run->target.kind == TARGET_STREAM)
		fetch.sink = &stream_sink;
	else
		fetch.sink = restore->delta ? &delta_sink : &file_sink;
	r = fetch_run(&fetch, err);
	if (!r && run->target.kind == TARGET_STREAM)
		r = stream_zeros(run, run->volume->size_bytes, err);
	return r ? r : target_finish(&run->target, err);
}

/* Damage stays where it is however often one goes on. */
static void warn_partial(const struct run *run, struct err *err)
{
	const char *way = "--delta goes on with it";

	if (err && err->code == -EBADMSG)
		way = "--skip-damaged restores all but the damage";
	if (err && run->target.kind == TARGET_FILE && run->target.partial) {
		size_t used = strlen(err->text);
		char safe[ERR_TEXT_MAX];

		escape_name(safe, sizeof(safe), run->target.partial);
		snprintf(err->text + used, sizeof(err->text) - used,
			 " (what is there so far stands in '%.300s'; %s)", safe,
			 way);
	}
}

int vms_restore(struct vms *vms, const struct vms_restore *restore,
		struct vms_restore_result *result, struct err *err)
{
	struct run run = { .restore = restore, .result = result, .vms = vms };
	int r;

	run.volume = volume_choose(restore, err);
	if (!run.volume)
		return err && err->code ? err->code : -EINVAL;
	result->size_bytes = run.volume->size_bytes;
	if (restore->progress)
		progress_add(&restore->progress->total_bytes,
			     run.volume->size_bytes);
	r = target_open(&run.target, vms->io, restore, run.volume->size_bytes,
			err);
	if (r)
		return r;
	pthread_mutex_init(&run.lock, NULL);
	pthread_cond_init(&run.turn, NULL);
	r = alloc_array(&run.writers, vms->readers, sizeof(*run.writers), err);
	if (!r)
		r = run_fetch(&run, err);
	if (r)
		warn_partial(&run, err);
	for (unsigned i = 0; run.writers && i < vms->readers; i++) {
		vms->io->ops->queue_free(run.writers[i].queue);
		free(run.writers[i].there);
	}
	free(run.writers);
	pthread_cond_destroy(&run.turn);
	pthread_mutex_destroy(&run.lock);
	target_close(&run.target);
	return r;
}

void vms_restore_result_release(struct vms_restore_result *result)
{
	ranges_release(&result->damaged);
}
