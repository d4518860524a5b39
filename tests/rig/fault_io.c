/* SPDX-License-Identifier: Apache-2.0 */
/* See fault_io.h. All that is not a fault goes to the io below. */
#include "tests/rig/fault_io.h"

#include <errno.h>
#include <string.h>

#include "format/base/base.h"

static struct fault_io *fault_of(struct vs_io *io)
{
	return container_of(io, struct fault_io, io);
}

static struct vs_io *below(struct vs_io *io)
{
	return fault_of(io)->real;
}

static bool is_hit(struct fault_io *fault, int file)
{
	return file >= 0 && (size_t)file < ARRAY_SIZE(fault->is_hit) &&
	       fault->is_hit[file];
}

static int remember(struct vs_io *io, int file, const char *path)
{
	struct fault_io *fault = fault_of(io);

	if (file >= 0 && (size_t)file < ARRAY_SIZE(fault->is_hit))
		fault->is_hit[file] = fault->path && strstr(path, fault->path);
	return file;
}

static int fault_open(struct vs_io *io, const char *path, int flags,
		      struct err *err)
{
	return remember(io, below(io)->ops->open(below(io), path, flags, err),
			path);
}

static bool fault_set_direct(struct vs_io *io, int file, bool on)
{
	return below(io)->ops->set_direct(below(io), file, on);
}

static int fault_create_unnamed(struct vs_io *io, const char *dir,
				struct err *err)
{
	return remember(io, below(io)->ops->create_unnamed(below(io), dir, err),
			dir);
}

static int fault_link(struct vs_io *io, int file, const char *path,
		      struct err *err)
{
	return below(io)->ops->link(below(io), file, path, err);
}

static int fault_close(struct vs_io *io, int file)
{
	return below(io)->ops->close(below(io), file);
}

static int fault_rename(struct vs_io *io, const char *from, const char *to,
			struct err *err)
{
	return below(io)->ops->rename(below(io), from, to, err);
}

static int fault_unlink(struct vs_io *io, const char *path, struct err *err)
{
	return below(io)->ops->unlink(below(io), path, err);
}

static int fault_mkdir(struct vs_io *io, const char *path, struct err *err)
{
	return below(io)->ops->mkdir(below(io), path, err);
}

static int fault_sync_dir(struct vs_io *io, const char *path, struct err *err)
{
	return below(io)->ops->sync_dir(below(io), path, err);
}

static int fault_list(struct vs_io *io, const char *path, io_list_fn *fn,
		      void *arg, struct err *err)
{
	return below(io)->ops->list(below(io), path, fn, arg, err);
}

static int fault_stat(struct vs_io *io, const char *path, struct io_stat *st,
		      struct err *err)
{
	return below(io)->ops->stat(below(io), path, st, err);
}

static int fault_fstat(struct vs_io *io, int file, struct io_stat *st,
		       struct err *err)
{
	return below(io)->ops->fstat(below(io), file, st, err);
}

static ssize_t fault_read(struct vs_io *io, int file, void *buffer,
			  size_t length, uint64_t offset)
{
	struct fault_io *fault = fault_of(io);
	ssize_t n;

	if (is_hit(fault, file) && fault->read_error &&
	    offset < fault->read_to && offset + length > fault->read_from)
		return fault->read_error;
	n = below(io)->ops->read(below(io), file, buffer, length, offset);
	if (n > 0 && is_hit(fault, file)) {
		uint64_t before =
			atomic_fetch_add(&fault->bytes_read, (uint64_t)n);

		if (fault->shrink_after && before < fault->shrink_after &&
		    before + (uint64_t)n >= fault->shrink_after &&
		    truncate(fault->path, (off_t)fault->shrink_to))
			return -errno;
	}
	return n;
}

static ssize_t fault_write(struct vs_io *io, int file, const void *buffer,
			   size_t length, uint64_t offset)
{
	struct fault_io *fault = fault_of(io);
	ssize_t n;

	if (is_hit(fault, file) && fault->write_error &&
	    offset + length > fault->write_limit)
		return fault->write_error;
	n = below(io)->ops->write(below(io), file, buffer, length, offset);
	if (n > 0 && is_hit(fault, file))
		atomic_fetch_add(&fault->bytes_written, (uint64_t)n);
	return n;
}

static int tell_sync(struct fault_io *fault, int file)
{
	if (!is_hit(fault, file))
		return 0;
	atomic_fetch_add(&fault->syncs, 1);
	return fault->sync_error;
}

static int fault_sync(struct vs_io *io, int file)
{
	int r = tell_sync(fault_of(io), file);

	return r ? r : below(io)->ops->sync(below(io), file);
}

static int fault_sync_data(struct vs_io *io, int file)
{
	int r = tell_sync(fault_of(io), file);

	return r ? r : below(io)->ops->sync_data(below(io), file);
}

static int fault_truncate(struct vs_io *io, int file, uint64_t size)
{
	return below(io)->ops->truncate(below(io), file, size);
}

static int fault_punch(struct vs_io *io, int file, uint64_t offset,
		       uint64_t length)
{
	return below(io)->ops->punch(below(io), file, offset, length);
}

static int fault_reserve(struct vs_io *io, int file, uint64_t offset,
			 uint64_t length)
{
	return below(io)->ops->reserve(below(io), file, offset, length);
}

static int fault_lock(struct vs_io *io, int file, bool exclusive)
{
	return below(io)->ops->lock(below(io), file, exclusive);
}

static int fault_seek_data(struct vs_io *io, int file, uint64_t offset,
			   uint64_t *start, uint64_t *end)
{
	return below(io)->ops->seek_data(below(io), file, offset, start, end);
}

static void fault_start_writeback(struct vs_io *io, int file, uint64_t offset,
				  uint64_t length)
{
	below(io)->ops->start_writeback(below(io), file, offset, length);
}

static bool fault_is_cached(struct vs_io *io, int file, uint64_t offset,
			    uint64_t length)
{
	return below(io)->ops->is_cached(below(io), file, offset, length);
}

static void fault_will_read(struct vs_io *io, int file, uint64_t offset,
			    uint64_t length)
{
	below(io)->ops->will_read(below(io), file, offset, length);
}

struct fault_queue {
	struct io_queue queue;    /* first */
	struct io_request *first; /* done, not yet reaped */
	struct io_request **last;
};

static struct io_queue *fault_queue_new(struct vs_io *io, unsigned depth,
					struct err *err)
{
	struct fault_queue *queue = NULL;

	(void)depth;
	if (alloc_array(&queue, 1, sizeof(*queue), err) < 0)
		return NULL;
	queue->queue.io = io;
	queue->last = &queue->first;
	return &queue->queue;
}

static void fault_queue_submit(struct io_queue *base,
			       struct io_request *request)
{
	struct fault_queue *queue = (struct fault_queue *)base;

	switch (request->op) {
	case IO_OP_READ:
		request->result =
			fault_read(base->io, request->file, request->buffer,
				   request->length, request->offset);
		break;
	case IO_OP_WRITE:
		request->result =
			fault_write(base->io, request->file, request->buffer,
				    request->length, request->offset);
		break;
	case IO_OP_SYNC:
		request->result = fault_sync(base->io, request->file);
		break;
	}
	request->in_flight = true;
	request->next = NULL;
	*queue->last = request;
	queue->last = &request->next;
	base->in_flight++;
}

static unsigned fault_queue_reap(struct io_queue *base, unsigned min,
				 struct io_request **done, unsigned max)
{
	struct fault_queue *queue = (struct fault_queue *)base;
	unsigned n;

	(void)min;
	for (n = 0; n < max && queue->first; n++) {
		done[n] = queue->first;
		queue->first = done[n]->next;
		if (!queue->first)
			queue->last = &queue->first;
		done[n]->in_flight = false;
		base->in_flight--;
	}
	return n;
}

static void fault_queue_free(struct io_queue *base)
{
	struct fault_queue *queue = (struct fault_queue *)base;

	if (!queue)
		return;
	for (; queue->first; queue->first = queue->first->next)
		queue->first->in_flight = false;
	free(queue);
}

static void fault_free(struct vs_io *io)
{
	(void)io;
}

static const struct vs_io_ops fault_ops = {
	.name = "faulty",
	.open = fault_open,
	.create_unnamed = fault_create_unnamed,
	.set_direct = fault_set_direct,
	.lock = fault_lock,
	.link = fault_link,
	.close = fault_close,
	.rename = fault_rename,
	.unlink = fault_unlink,
	.mkdir = fault_mkdir,
	.sync_dir = fault_sync_dir,
	.list = fault_list,
	.stat = fault_stat,
	.fstat = fault_fstat,
	.read = fault_read,
	.write = fault_write,
	.sync = fault_sync,
	.sync_data = fault_sync_data,
	.truncate = fault_truncate,
	.punch = fault_punch,
	.reserve = fault_reserve,
	.seek_data = fault_seek_data,
	.is_cached = fault_is_cached,
	.start_writeback = fault_start_writeback,
	.will_read = fault_will_read,
	.queue_new = fault_queue_new,
	.queue_submit = fault_queue_submit,
	.queue_reap = fault_queue_reap,
	.queue_free = fault_queue_free,
	.free = fault_free,
};

void fault_io_init(struct fault_io *fault, struct vs_io *real)
{
	memset(fault, 0, sizeof(*fault));
	fault->io.ops = &fault_ops;
	fault->real = real;
}
