/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a backup. Each does every stage for its segment: read, zero
 * test, change filter, id, "does the store have it", compress, seal, pack;
 * so content stays in one core's cache and nothing is handed from thread to
 * thread but segments. The read of the next segment is under way meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/backup_disk.h"

struct pass {
	struct backup_disk *disk;
	struct scan *scan;
	pthread_mutex_t lock; /* totals, bad, warned, and the warn callback */
	struct vms_ranges bad;
	bool filter_warned;
};

/* A segment and the read that fills its buffer. */
struct slot {
	struct segment *segment;
	void *buffer;
	size_t length;
	struct io_request request;
};

struct worker {
	struct pass *pass;
	struct store_thread *thread;
	struct tagger *tagger;
	struct filter *filter; /* NULL without one */
	struct io_queue *queue;
	struct slot slots[2];
	struct snapshot_totals totals;
};

static void worker_release(struct worker *worker, struct vs_io *io)
{
	/* The queue first: it waits for reads into the buffers. */
	io->ops->queue_free(worker->queue);
	filter_free(worker->filter);
	tagger_free(worker->tagger);
	free(worker->slots[0].buffer);
	free(worker->slots[1].buffer);
}

static void warn_filter(struct pass *pass, const struct err *why)
{
	const struct vms_backup *backup = pass->disk->backup;
	char text[ERR_TEXT_MAX + 256];

	pthread_mutex_lock(&pass->lock);
	if (!pass->filter_warned && backup->warn) {
		snprintf(
			text, sizeof(text),
			"the last backup of '%s' can't be compared with in part, so more is read anew: %s",
			pass->disk->volume->name, why->text);
		backup->warn(backup->warn_arg, text);
	}
	pass->filter_warned = true;
	pthread_mutex_unlock(&pass->lock);
}

static int worker_init(struct worker *worker, struct pass *pass, unsigned n,
		       struct err *err)
{
	struct backup_disk *disk = pass->disk;
	struct vs_io *io = disk->vms->io;
	const struct masters *masters = store_masters(disk->vms->store);
	struct err why = { 0 };

	memset(worker, 0, sizeof(*worker));
	worker->pass = pass;
	worker->thread = disk->threads[n];
	worker->tagger = tagger_new(masters->filter_key, err);
	worker->queue = io->ops->queue_new(io, 2, err);
	for (unsigned i = 0; i < 2; i++)
		worker->slots[i].buffer =
			segment_buffer(disk->volume->chunk_log2, err);
	if (!worker->tagger || !worker->queue || !worker->slots[0].buffer ||
	    !worker->slots[1].buffer)
		return err && err->code ? err->code : -ENOMEM;
	/* A filter that can't be read costs a rescan, never a backup. */
	if (disk->parent &&
	    filter_new(&worker->filter, worker->thread, disk->parent, &why))
		warn_filter(pass, &why);
	return 0;
}

static void slot_start(struct worker *worker, struct slot *slot)
{
	struct backup_disk *disk = worker->pass->disk;
	const struct volume *volume = disk->volume;
	uint64_t offset = slot->segment->first << volume->chunk_log2;
	uint64_t length = slot->segment->count << volume->chunk_log2;

	slot->length = (size_t)min_u64(length, volume->size_bytes - offset);
	if (disk->source->is_stream)
		return; /* scan_next() has read it */
	slot->request = (struct io_request){
		.op = IO_OP_READ,
		.file = disk->source->file,
		.buffer = slot->buffer,
		.length = slot->length,
		.offset = offset,
		.owner = slot,
	};
	disk->vms->io->ops->queue_submit(worker->queue, &slot->request);
}

static int slot_reread(struct worker *worker, struct slot *slot,
		       struct err *err)
{
	struct pass *pass = worker->pass;
	struct vms_ranges bad = { 0 };
	int r;

	r = source_read_carefully(pass->disk->source, slot->buffer,
				  slot->length, slot->request.offset,
				  pass->disk->backup->skip_bad_blocks, &bad,
				  err);
	pthread_mutex_lock(&pass->lock);
	for (size_t i = 0; i < bad.count && !r; i++)
		r = ranges_add(&pass->bad, bad.ranges[i].offset,
			       bad.ranges[i].length, err);
	pthread_mutex_unlock(&pass->lock);
	ranges_release(&bad);
	return r;
}

/* Reads may end in any order: wait until this one has. */
static int slot_wait(struct worker *worker, struct slot *slot, struct err *err)
{
	struct vs_io *io = worker->pass->disk->vms->io;
	struct io_request *done;

	if (worker->pass->disk->source->is_stream)
		return 0;
	while (slot->request.in_flight)
		io->ops->queue_reap(worker->queue, 1, &done, 1);
	if (slot->request.result == (ssize_t)slot->length)
		return 0;
	return slot_reread(worker, slot, err);
}

static int put_chunk(struct worker *worker, const uint8_t *content,
		     uint32_t size, const struct id *known, bool unchanged,
		     struct id *id, struct err *err)
{
	struct vms_progress *progress = worker->pass->disk->backup->progress;
	struct put_result put = { 0 };
	int r;

	if (unchanged) {
		*id = *known;
		worker->totals.unchanged_bytes += size;
		r = store_put_known(worker->thread, CHUNK_DATA, content, size,
				    known, &put, err);
	} else {
		r = store_put(worker->thread, CHUNK_DATA, content, size, id,
			      &put, err);
	}
	if (r || !put.is_new)
		return r;
	worker->totals.new_chunks++;
	worker->totals.new_content_bytes += size;
	if (progress) {
		progress_add(&progress->unique_bytes, size);
		progress_add(&progress->stored_bytes, put.stored_bytes);
	}
	return 0;
}

static int slot_process(struct worker *worker, struct slot *slot,
			struct err *err)
{
	const struct volume *volume = worker->pass->disk->volume;
	struct segment *segment = slot->segment;
	struct id known[SEGMENT_CHUNKS_MAX];
	struct filter_tag tags[SEGMENT_CHUNKS_MAX];
	struct err why = { 0 };
	int r;

	if (worker->filter &&
	    filter_load(worker->filter, segment->first,
			(unsigned)segment->count, known, tags, &why))
		warn_filter(worker->pass, &why);
	for (unsigned i = 0; i < segment->count; i++) {
		uint64_t number = segment->first + i;
		const uint8_t *content = (const uint8_t *)slot->buffer +
					 ((size_t)i << volume->chunk_log2);
		uint32_t size = volume_chunk_bytes(volume, number);
		bool unchanged;

		if (bytes_are_zero(content, size)) {
			memset(&segment->ids[i], 0, sizeof(segment->ids[i]));
			memset(&segment->tags[i], 0, sizeof(segment->tags[i]));
			continue;
		}
		r = tagger_tag(worker->tagger, number, content, size,
			       &segment->tags[i], err);
		if (r)
			return r;
		unchanged =
			worker->filter && !id_is_null(&known[i]) &&
			!memcmp(&tags[i], &segment->tags[i], sizeof(tags[i]));
		r = put_chunk(worker, content, size, &known[i], unchanged,
			      &segment->ids[i], err);
		if (r)
			return r;
	}
	worker->totals.scanned_bytes += slot->length;
	return 0;
}

static int worker_loop(struct worker *worker, struct err *err)
{
	struct scan *scan = worker->pass->scan;
	unsigned turn = 0;
	int r;

	for (;; turn ^= 1) {
		struct slot *now = &worker->slots[turn];
		struct slot *later = &worker->slots[turn ^ 1];

		if (!now->segment) {
			r = scan_next(scan, true, now->buffer, worker->thread,
				      &now->segment, err);
			if (r <= 0)
				return r;
			slot_start(worker, now);
		}
		r = scan_next(scan, false, later->buffer, worker->thread,
			      &later->segment, err);
		if (r == 1)
			slot_start(worker, later);
		else if (r < 0 && r != -EAGAIN)
			return r;
		r = slot_wait(worker, now, err);
		if (!r)
			r = slot_process(worker, now, err);
		if (!r)
			r = scan_complete(scan, now->segment, worker->thread,
					  err);
		if (r)
			return r;
		now->segment = NULL;
	}
}

static void totals_add(struct snapshot_totals *to,
		       const struct snapshot_totals *from)
{
	to->scanned_bytes += from->scanned_bytes;
	to->unchanged_bytes += from->unchanged_bytes;
	to->new_chunks += from->new_chunks;
	to->new_content_bytes += from->new_content_bytes;
}

static int worker_run(void *arg, unsigned n, struct err *err)
{
	struct pass *pass = arg;
	struct worker worker;
	int r = worker_init(&worker, pass, n, err);

	if (!r)
		r = worker_loop(&worker, err);
	if (r)
		scan_fail(pass->scan);
	pthread_mutex_lock(&pass->lock);
	totals_add(pass->disk->totals, &worker.totals);
	pthread_mutex_unlock(&pass->lock);
	worker_release(&worker, pass->disk->vms->io);
	return r;
}

/* The ranges, in order, become the volume's. */
static int volume_take_bad(struct volume *volume, struct vms_ranges *bad,
			   struct err *err)
{
	ranges_sort(bad);
	if (bad->count > VOLUME_BAD_RANGES_MAX)
		return err_set(
			err, -EIO,
			"disk '%s' has more than %u unreadable ranges; copy it with a rescue tool first",
			volume->name, VOLUME_BAD_RANGES_MAX);
	volume->bad = bad->ranges;
	volume->bad_count = bad->count;
	memset(bad, 0, sizeof(*bad));
	return 0;
}

int backup_disk(struct backup_disk *disk, struct err *err)
{
	struct pass pass = { .disk = disk };
	struct volume *volume = disk->volume;
	int r;

	r = scan_new(&pass.scan, disk->source, volume, disk->backup->progress,
		     err);
	if (r)
		return r;
	pthread_mutex_init(&pass.lock, NULL);
	r = pool_run(disk->vms->workers, worker_run, &pass, err);
	if (!r)
		r = scan_finish(pass.scan, disk->threads[0], &volume->root,
				&volume->tags, err);
	volume->has_tags = true;
	if (!r)
		r = source_finish(disk->source, disk->backup->warn,
				  disk->backup->warn_arg, err);
	if (!r)
		r = volume_take_bad(volume, &pass.bad, err);
	ranges_release(&pass.bad);
	pthread_mutex_destroy(&pass.lock);
	scan_free(pass.scan);
	return r;
}
