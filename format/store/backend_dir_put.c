/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting an object into the directory backend: an unnamed file in the
 * object's folder, written, synced, linked, and then the folder synced, so that
 * nobody ever sees a name whose bytes are not durable.
 *
 * Packs are written past the page cache where the file system can: they are
 * large, nobody reads them soon, and copying them into fresh pages would cost a
 * tenth of a backup. Two buffers, one of them under way to the device.
 *
 * A folder made on demand is durable before the first object in it counts;
 * one that another process has just made may not be yet, so each folder that
 * is found is synced once a process as well.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

/* As much is written before the device is told to start. */
#define WRITEBACK_STEP (1u << 20)
#define LANE_SIZE      (1u << 20)
#define LANE_ALIGNMENT 4096u

/* A buffer on its way to the device. */
struct lane {
	struct io_request request;
	uint8_t *buffer;
};

struct backend_put {
	struct dir_backend *dir;
	int file;
	uint64_t offset;
	uint64_t started;       /* write-back was started up to here */
	struct io_queue *queue; /* NULL: through the page cache */
	struct lane lanes[2];
	unsigned turn; /* the lane that is being filled */
	size_t fill;
	char name[DIR_NAME_MAX];
	char folder[DIR_NAME_MAX];
};

/* PATH/folder exists and is durable after this. */
static int make_folder(struct dir_backend *dir, const char *folder,
		       const char *above, struct err *err)
{
	autofree char *path = dir_path(dir, folder, err);
	autofree char *parent = dir_path(dir, above, err);
	int r;

	if (!path || !parent)
		return -ENOMEM;
	r = dir->io->ops->mkdir(dir->io, path, NULL);
	if (r < 0)
		return dir_fail(dir, r, "make", folder, err);
	r = dir->io->ops->sync_dir(dir->io, parent, NULL);
	if (r < 0)
		return dir_fail(dir, r, "make durable", folder, err);
	return 0;
}

/* What stands in packs/ now is durable after this: one sync for all. */
static int look_at_packs(struct dir_backend *dir, struct err *err)
{
	autofree char *path = dir_path(dir, DIR_PACKS, err);
	bool found[DIR_SUBFOLDER];
	struct err why;
	int r;

	if (!path)
		return -ENOMEM;
	r = dir_subfolders(dir, found, &why);
	if (r == -ENOENT)
		return make_folder(dir, DIR_PACKS, "", err);
	if (r < 0)
		return err_set(err, r, "%s", why.text);
	r = dir->io->ops->sync_dir(dir->io, path, NULL);
	if (r < 0)
		return dir_fail(dir, r, "make durable", DIR_PACKS, err);
	memcpy(dir->has_folder, found, sizeof(found));
	return 0;
}

/* packs/xx: not made ahead, since a small store needs few of the 256. */
static int need_subfolder(struct dir_backend *dir, const char *folder,
			  struct err *err)
{
	int at = dir_subfolder(folder + strlen(DIR_PACKS "/"));
	int r = 0;

	if (at < 0)
		return err_set(err, -EINVAL, "'%s' is no folder of packs",
			       folder);
	pthread_mutex_lock(&dir->folders_lock);
	if (!dir->packs_seen) {
		r = look_at_packs(dir, err);
		dir->packs_seen = r == 0;
	}
	if (r == 0 && !dir->has_folder[at]) {
		r = make_folder(dir, folder, DIR_PACKS, err);
		dir->has_folder[at] = r == 0;
	}
	pthread_mutex_unlock(&dir->folders_lock);
	return r;
}

static int create_file(struct dir_backend *dir, const char *folder, int *file,
		       struct err *err)
{
	autofree char *path = dir_path(dir, folder, err);
	int r;

	if (!path)
		return -ENOMEM;
	r = dir->io->ops->create_unnamed(dir->io, path, NULL);
	/* A copy of a store may lack its empty folders. */
	if (r == -ENOENT && folder[0] && !strchr(folder, '/')) {
		r = make_folder(dir, folder, "", err);
		if (r < 0)
			return r;
		r = dir->io->ops->create_unnamed(dir->io, path, NULL);
	}
	if (r < 0)
		return dir_fail(dir, r, "create a file in", folder, err);
	*file = r;
	return 0;
}

static void lanes_release(struct backend_put *put)
{
	/* Waits for what is under way in the buffers. */
	put->dir->io->ops->queue_free(put->queue);
	put->queue = NULL;
	free(put->lanes[0].buffer);
	free(put->lanes[1].buffer);
	put->lanes[0].buffer = put->lanes[1].buffer = NULL;
}

/* Whatever is missing for it, the page cache does as well. */
static void lanes_open(struct backend_put *put)
{
	struct vs_io *io = put->dir->io;
	unsigned n;

	for (n = 0; n < ARRAY_SIZE(put->lanes); n++)
		put->lanes[n].buffer = aligned_alloc(LANE_ALIGNMENT, LANE_SIZE);
	if (put->lanes[0].buffer && put->lanes[1].buffer)
		put->queue = io->ops->queue_new(io, 2, NULL);
	if (!put->queue || !io->ops->set_direct(io, put->file, true))
		lanes_release(put);
}

/* Until the lane's buffer is free. A write that was refused or cut short is
 * done again by hand: through the page cache where its size was the trouble. */
static int lane_wait(struct backend_put *put, struct lane *lane,
		     struct err *err)
{
	struct vs_io *io = put->dir->io;
	struct io_request *request = &lane->request, *done;
	int r = 0;

	while (request->in_flight)
		io->ops->queue_reap(put->queue, 1, &done, 1);
	if (request->result != (ssize_t)request->length) {
		if (request->result < 0 && request->result != -EINVAL)
			r = (int)request->result;
		else
			io->ops->set_direct(io, put->file, false);
		if (r == 0)
			r = io_write_full(io, put->file, lane->buffer,
					  request->length, request->offset);
	}
	request->length = 0;
	request->result = 0;
	if (r < 0)
		return dir_fail(put->dir, r, "write", put->name, err);
	return 0;
}

/* The lane being filled goes; the other one is filled next. */
static int lane_send(struct backend_put *put, struct err *err)
{
	struct lane *lane = &put->lanes[put->turn];
	size_t length = (put->fill + LANE_ALIGNMENT - 1) / LANE_ALIGNMENT *
			LANE_ALIGNMENT;

	memset(lane->buffer + put->fill, 0, length - put->fill);
	lane->request = (struct io_request){
		.op = IO_OP_WRITE,
		.file = put->file,
		.buffer = lane->buffer,
		.length = length,
		.offset = put->offset - put->fill,
	};
	put->dir->io->ops->queue_submit(put->queue, &lane->request);
	put->turn ^= 1;
	put->fill = 0;
	return lane_wait(put, &put->lanes[put->turn], err);
}

static int lanes_write(struct backend_put *put, const void *data, size_t size,
		       struct err *err)
{
	const uint8_t *from = data;
	int r = 0;

	while (size && r == 0) {
		size_t part = (size_t)min_u64(size, LANE_SIZE - put->fill);

		memcpy(put->lanes[put->turn].buffer + put->fill, from, part);
		put->fill += part;
		put->offset += part;
		from += part;
		size -= part;
		if (put->fill == LANE_SIZE)
			r = lane_send(put, err);
	}
	return r;
}

/* All is with the device, and the padding of the last write is cut off. */
static int lanes_finish(struct backend_put *put, struct err *err)
{
	struct vs_io *io = put->dir->io;
	int r = 0;

	if (put->fill)
		r = lane_send(put, err);
	if (r == 0)
		r = lane_wait(put, &put->lanes[put->turn ^ 1], err);
	if (r < 0)
		return r;
	r = io->ops->truncate(io, put->file, put->offset);
	if (r < 0)
		return dir_fail(put->dir, r, "set the size of", put->name, err);
	return 0;
}

int dir_put_begin(struct backend *backend, const char *name,
		  struct backend_put **out, struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	autofree struct backend_put *put = NULL;
	const char *slash = strrchr(name, '/');
	int r;

	if (strlen(name) >= sizeof(put->name))
		return err_set(err, -EINVAL, "'%s' is no object's name", name);
	r = alloc_array(&put, 1, sizeof(*put), err);
	if (r < 0)
		return r;
	put->dir = dir;
	memcpy(put->name, name, strlen(name) + 1);
	if (slash)
		memcpy(put->folder, name, (size_t)(slash - name));
	if (strncmp(put->folder, DIR_PACKS "/", strlen(DIR_PACKS "/")) == 0)
		r = need_subfolder(dir, put->folder, err);
	if (r == 0)
		r = create_file(dir, put->folder, &put->file, err);
	if (r < 0)
		return r;
	if (strncmp(put->folder, DIR_PACKS "/", strlen(DIR_PACKS "/")) == 0)
		lanes_open(put);
	*out = ptr_steal(&put);
	return 0;
}

int dir_put_write(struct backend_put *put, const void *data, size_t size,
		  struct err *err)
{
	struct vs_io *io = put->dir->io;
	int r;

	if (put->queue)
		return lanes_write(put, data, size, err);
	r = io_write_full(io, put->file, data, size, put->offset);
	if (r < 0)
		return dir_fail(put->dir, r, "write", put->name, err);
	put->offset += size;
	if (put->offset - put->started >= WRITEBACK_STEP) {
		io->ops->start_writeback(io, put->file, put->started,
					 put->offset - put->started);
		put->started = put->offset;
	}
	return 0;
}

static int link_file(struct backend_put *put, struct err *err)
{
	autofree char *path = dir_path(put->dir, put->name, err);
	autofree char *folder = dir_path(put->dir, put->folder, err);
	struct vs_io *io = put->dir->io;
	int r;

	if (!path || !folder)
		return -ENOMEM;
	r = io->ops->sync(io, put->file);
	if (r < 0)
		return dir_fail(put->dir, r, "make durable", put->name, err);
	r = io->ops->link(io, put->file, path, NULL);
	if (r == -EEXIST)
		return err_set(err, r, "'%s/%s' exists already",
			       put->dir->shown, put->name);
	if (r < 0)
		return dir_fail(put->dir, r, "create", put->name, err);
	r = io->ops->sync_dir(io, folder, NULL);
	if (r < 0)
		return dir_fail(put->dir, r, "make durable", put->name, err);
	return 0;
}

int dir_put_finish(struct backend_put *put, struct err *err)
{
	int r = put->queue ? lanes_finish(put, err) : 0;

	if (r == 0)
		r = link_file(put, err);
	if (r == 0)
		dir_sweep(put->dir);
	dir_put_abort(put);
	return r;
}

void dir_put_abort(struct backend_put *put)
{
	/* What has no name is gone with this; its bytes were synced, so a
	 * failure to close a linked one tells nothing. */
	lanes_release(put);
	put->dir->io->ops->close(put->dir->io, put->file);
	free(put);
}
