/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is a raw file or a block device, through the page cache.
 *
 * A sync that failed is remembered: the kernel forgets what it could not
 * write, so no later flush may say that all is well. Holes are punched in
 * place, by the calling thread; where that can't be, zeros are written in
 * their stead, and a discard does nothing.
 *
 * A request may take several steps. An io that does each at once has no
 * descriptor to tell that the next one is due: then there is one here.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "format/base/event.h"
#include "kvm-agent/virtio/disk.h"

#define BATCH      64u
#define ZEROS_SIZE (256 * KIB)

struct disk_raw {
	struct disk disk;
	struct vs_io *io;
	struct io_queue *queue;
	int file;
	int sync_failed; /* -errno; for good */
	bool no_holes;
	uint8_t *zeros;     /* made when it is needed first */
	struct event event; /* fd -1: the queue has one */
	struct disk_request *done, **last;
};

static struct disk_raw *of(struct disk *disk)
{
	return container_of(disk, struct disk_raw, disk);
}

static void finish(struct disk_raw *raw, struct disk_request *request,
		   int result)
{
	request->result = result;
	request->next = NULL;
	*raw->last = request;
	raw->last = &request->next;
}

static void submit_io(struct disk_raw *raw, struct disk_request *request,
		      enum io_op op, void *buffer, size_t length)
{
	struct io_request *io = &request->work.raw.io;

	*io = (struct io_request){
		.op = op,
		.file = raw->file,
		.buffer = buffer,
		.length = length,
		.offset = request->offset + request->work.raw.done,
		.owner = request,
		.more = request->more,
	};
	raw->io->ops->queue_submit(raw->queue, io);
}

/* What of it isn't done yet. */
static void submit_rest(struct disk_raw *raw, struct disk_request *request)
{
	uint64_t left = request->length - request->work.raw.done;

	if (request->op == DISK_ZERO)
		submit_io(raw, request, IO_OP_WRITE, raw->zeros,
			  (size_t)min_u64(left, ZEROS_SIZE));
	else
		submit_io(raw, request,
			  request->op == DISK_READ ? IO_OP_READ : IO_OP_WRITE,
			  (uint8_t *)request->buffer + request->work.raw.done,
			  (size_t)left);
}

static int punch(struct disk_raw *raw, const struct disk_request *request)
{
	int r;

	if (raw->no_holes)
		return -EOPNOTSUPP;
	r = raw->io->ops->punch(raw->io, raw->file, request->offset,
				request->length);
	if (r == -EOPNOTSUPP || r == -ENOSYS)
		raw->no_holes = true;
	/* A device whose blocks are larger than the range. */
	return r == -ENOSYS || r == -EINVAL ? -EOPNOTSUPP : r;
}

static void make_hole(struct disk_raw *raw, struct disk_request *request)
{
	int r = request->length ? punch(raw, request) : 0;

	if (r == -EOPNOTSUPP && request->op == DISK_ZERO) {
		if (!raw->zeros)
			raw->zeros = calloc(1, ZEROS_SIZE);
		if (raw->zeros) {
			submit_rest(raw, request);
			return;
		}
		r = -ENOMEM;
	}
	/* Nobody relies on a discard. */
	finish(raw, request, r == -EOPNOTSUPP ? 0 : r);
}

static void start(struct disk_raw *raw, struct disk_request *request)
{
	const struct disk *disk = &raw->disk;

	request->work.raw.done = 0;
	if (disk->read_only && request->op != DISK_READ &&
	    request->op != DISK_FLUSH) {
		finish(raw, request, -EROFS);
		return;
	}
	switch (request->op) {
	case DISK_READ:
	case DISK_WRITE:
		submit_rest(raw, request);
		break;
	case DISK_FLUSH:
		if (disk->read_only || raw->sync_failed)
			finish(raw, request, raw->sync_failed);
		else
			submit_io(raw, request, IO_OP_SYNC, NULL, 0);
		break;
	case DISK_DISCARD:
	case DISK_ZERO:
		make_hole(raw, request);
		break;
	}
}

static void submit(struct disk *disk, struct disk_request *request)
{
	start(of(disk), request);
	event_set(&of(disk)->event);
}

static void io_done(struct disk_raw *raw, struct disk_request *request)
{
	ssize_t result = request->work.raw.io.result;

	if (request->op == DISK_FLUSH) {
		if (result < 0)
			raw->sync_failed = (int)result;
		/* Also of one that was under way beside it. */
		finish(raw, request, raw->sync_failed);
		return;
	}
	/* The file was cut: what is missing can't be had. */
	if (result == 0)
		result = -EIO;
	if (result < 0) {
		finish(raw, request, (int)result);
		return;
	}
	request->work.raw.done += (uint64_t)result;
	if (request->work.raw.done < request->length) {
		request->more = false;
		submit_rest(raw, request);
	} else {
		finish(raw, request, 0);
	}
}

static void reap_io(struct disk_raw *raw, unsigned min)
{
	struct io_request *done[BATCH];
	unsigned count = raw->io->ops->queue_reap(raw->queue, min, done, BATCH);

	for (unsigned i = 0; i < count; i++)
		io_done(raw, done[i]->owner);
}

static unsigned take_done(struct disk_raw *raw, unsigned min,
			  struct disk_request **done, unsigned max)
{
	unsigned count = 0;

	/* A step that nobody would be told of is not waited for. */
	do
		reap_io(raw, 0);
	while (!raw->done && raw->queue->at_hand);
	for (;;) {
		while (count < max && raw->done) {
			done[count] = raw->done;
			raw->done = done[count++]->next;
			if (!raw->done)
				raw->last = &raw->done;
		}
		if (count >= min || !raw->queue->in_flight)
			return count;
		reap_io(raw, 1);
	}
}

static unsigned reap(struct disk *disk, unsigned min,
		     struct disk_request **done, unsigned max)
{
	struct disk_raw *raw = of(disk);
	unsigned count = take_done(raw, min, done, max);

	/* It would give something, or take a step; or it would not. */
	if (raw->done || raw->queue->in_flight)
		event_set(&raw->event);
	else
		event_clear(&raw->event);
	return count;
}

static int fd_of(struct disk *disk)
{
	struct disk_raw *raw = of(disk);

	return raw->event.fd >= 0 ? raw->event.fd
				  : raw->io->ops->queue_fd(raw->queue);
}

static void free_raw(struct disk *disk)
{
	struct disk_raw *raw = of(disk);

	raw->io->ops->queue_free(raw->queue);
	raw->io->ops->close(raw->io, raw->file);
	autofd_run(&raw->event.fd);
	free(raw->zeros);
	free(raw);
}

static const struct disk_ops ops = { submit, reap, fd_of, free_raw };

static int open_raw(struct vs_io *io, const char *path, bool read_only,
		    uint64_t *size, struct err *err)
{
	struct io_stat st;
	int file = io->ops->open(
		io, path, read_only ? IO_READ_ONLY : IO_READ_WRITE | IO_CLAIM,
		err);
	int r;

	if (file < 0)
		return file;
	r = io->ops->fstat(io, file, &st, err);
	if (!r && st.kind != IO_KIND_FILE && st.kind != IO_KIND_BLOCK)
		r = err_set(err, -EINVAL,
			    "'%s' is neither a file nor a block device", path);
	if (!r && st.size_bytes % DISK_SECTOR)
		r = err_set(err, -EINVAL,
			    "'%s' has %" PRIu64 " bytes, which is no multiple "
			    "of %u: no raw disk",
			    path, st.size_bytes, DISK_SECTOR);
	if (!r && io->ops->lock(io, file, !read_only) < 0)
		r = err_set(err, -EBUSY, "'%s' is in use by another machine",
			    path);
	if (r < 0) {
		io->ops->close(io, file);
		return r;
	}
	*size = st.size_bytes;
	return file;
}

static int open_queue(struct disk_raw *raw, unsigned depth, struct err *err)
{
	int r;

	raw->queue = raw->io->ops->queue_new(raw->io, depth, err);
	if (!raw->queue)
		return err_prefix(err, "a disk's queue");
	if (raw->io->ops->queue_fd(raw->queue) >= 0)
		return 0;
	r = event_open(&raw->event);
	if (!r)
		return 0;
	raw->io->ops->queue_free(raw->queue);
	return err_sys(err, r, "a disk's queue");
}

int disk_raw_new(struct disk **out, struct vs_io *io, const char *path,
		 bool read_only, unsigned depth, struct err *err)
{
	struct disk_raw *raw = NULL;
	uint64_t size = 0;
	int r = alloc_array(&raw, 1, sizeof(*raw), err);

	if (r < 0)
		return r;
	raw->io = io;
	raw->last = &raw->done;
	raw->event.fd = -1;
	raw->file = r = open_raw(io, path, read_only, &size, err);
	if (r >= 0) {
		r = open_queue(raw, depth, err);
		if (r < 0)
			io->ops->close(io, raw->file);
	}
	if (r < 0) {
		free(raw);
		return r;
	}
	raw->disk = (struct disk){ &ops, size, read_only };
	*out = &raw->disk;
	return 0;
}
