/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated disk as a struct vs_io: handles and the calls on names, each
 * between sim_begin() and sim_end().
 *
 * A handle's number is never given twice, so a stale one is always noticed.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

static struct sim *sim_of(struct vs_io *io)
{
	return container_of(io, struct sim, io);
}

static int handle_new(struct sim *sim, struct sim_inode *inode, int flags)
{
	size_t n = sim->handle_count++;

	sim->handles = sim_grow(sim->handles,
				sim->handle_count * sizeof(sim->handles[0]));
	sim->handles[n].inode = inode;
	sim->handles[n].flags = flags;
	sim->handles[n].lock = SIM_UNLOCKED;
	sim_inode_get(inode, true);
	sim->count.open_files++;
	return SIM_HANDLE_FIRST + (int)n;
}

struct sim_handle *sim_handle_get(struct sim *sim, int file)
{
	struct sim_handle *handle;

	if (file < SIM_HANDLE_FIRST ||
	    (size_t)(file - SIM_HANDLE_FIRST) >= sim->handle_count)
		return NULL;
	handle = &sim->handles[file - SIM_HANDLE_FIRST];
	return handle->inode ? handle : NULL;
}

static void handle_drop(struct sim *sim, struct sim_handle *handle)
{
	sim_inode_put(ptr_steal(&handle->inode), true);
	sim->count.open_files--;
}

void sim_handles_drop(struct sim *sim)
{
	size_t i;

	for (i = 0; i < sim->handle_count; i++) {
		if (sim->handles[i].inode)
			handle_drop(sim, &sim->handles[i]);
	}
}

/* For calls that are no operation. */
static int result(struct sim *sim, struct err *err, const char *what,
		  const char *path, int r)
{
	if (sim->off)
		r = -EIO;
	if (r < 0)
		err_sys(err, r, "can't %s '%s' on the simulated disk%s", what,
			path, sim->off ? ", which has no power" : "");
	return r;
}

static int do_create(struct sim *sim, const char *path, int flags)
{
	struct sim_inode *dir;
	struct sim_inode *inode;
	char name[SIM_NAME_MAX + 1];
	int r = sim_lookup_parent(sim, path, &dir, name);

	if (r < 0)
		return r;
	inode = sim_inode_new(sim, false);
	sim_name_add(dir, name, inode);
	return handle_new(sim, inode, flags);
}

static int sim_open(struct vs_io *io, const char *path, int flags,
		    struct err *err)
{
	struct sim *sim = sim_of(io);
	struct sim_inode *inode;
	int r = sim_lookup(sim, path, &inode);

	if ((flags & (IO_CREATE | IO_READ_WRITE)) == IO_CREATE)
		r = -EINVAL;
	if (r == -ENOENT && (flags & IO_CREATE)) {
		r = sim_begin(sim);
		if (!r)
			r = do_create(sim, path, flags);
		return sim_end(sim, err, "create", path, r);
	}
	if (!r && (flags & IO_EXCLUSIVE) && (flags & IO_CREATE))
		r = -EEXIST;
	if (!r && inode->directory && (flags & IO_READ_WRITE))
		r = -EISDIR;
	if (!r && !sim->off)
		r = handle_new(sim, inode, flags);
	return result(sim, err, "open", path, r);
}

static int find_dir(struct sim *sim, const char *path, struct sim_inode **dir)
{
	int r = sim_lookup(sim, path, dir);

	return r ? r : (*dir)->directory ? 0 : -ENOTDIR;
}

static int new_unnamed(struct sim *sim, const char *path)
{
	struct sim_inode *inode = sim_inode_new(sim, false);

	snprintf(inode->label, sizeof(inode->label), "%.90s", path);
	return handle_new(sim, inode, IO_READ_WRITE);
}

static int sim_create_unnamed(struct vs_io *io, const char *path,
			      struct err *err)
{
	struct sim *sim = sim_of(io);
	struct sim_inode *dir;
	int r = sim_begin(sim);

	if (!r)
		r = find_dir(sim, path, &dir);
	if (!r)
		r = new_unnamed(sim, path);
	return sim_end(sim, err, "create an unnamed file in", path, r);
}

static bool sim_set_direct(struct vs_io *io, int file, bool on)
{
	struct sim_handle *handle = sim_handle_get(sim_of(io), file);

	if (!handle)
		return false;
	handle->flags =
		on ? handle->flags | IO_DIRECT : handle->flags & ~IO_DIRECT;
	return true;
}

/* So that what can be read past the cache is. */
static bool sim_is_cached(struct vs_io *io, int file, uint64_t offset,
			  uint64_t length)
{
	(void)io;
	(void)file;
	(void)offset;
	(void)length;
	return false;
}

static int do_link(struct sim *sim, int file, const char *path)
{
	struct sim_handle *handle = sim_handle_get(sim, file);
	struct sim_inode *dir;
	char name[SIM_NAME_MAX + 1];
	int r;

	if (!handle)
		return -EBADF;
	if (handle->inode->named)
		return -EINVAL;
	r = sim_lookup_parent(sim, path, &dir, name);
	if (r < 0)
		return r;
	if (sim_name_find(dir, name))
		return -EEXIST;
	sim_name_add(dir, name, handle->inode);
	return 0;
}

static int sim_link(struct vs_io *io, int file, const char *path,
		    struct err *err)
{
	struct sim *sim = sim_of(io);
	int r = sim_begin(sim);

	if (!r)
		r = do_link(sim, file, path);
	return sim_end(sim, err, "link", path, r);
}

static int sim_close(struct vs_io *io, int file)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle = sim_handle_get(sim, file);

	if (handle)
		handle_drop(sim, handle);
	return sim->off ? -EIO : handle ? 0 : -EBADF;
}

static int sim_lock(struct vs_io *io, int file, bool exclusive)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle = sim_handle_get(sim, file);
	size_t i;

	if (sim->off)
		return -EIO;
	if (!handle || (exclusive && !(handle->flags & IO_READ_WRITE)))
		return -EBADF;
	for (i = 0; i < sim->handle_count; i++) {
		const struct sim_handle *other = &sim->handles[i];

		if (other != handle && other->inode == handle->inode &&
		    (other->lock == SIM_EXCLUSIVE ||
		     (other->lock == SIM_SHARED && exclusive)))
			return -EBUSY;
	}
	handle->lock = exclusive ? SIM_EXCLUSIVE : SIM_SHARED;
	return 0;
}

static int sim_rename(struct vs_io *io, const char *from, const char *to,
		      struct err *err)
{
	struct sim *sim = sim_of(io);
	int r = sim_begin(sim);

	if (!r)
		r = sim_name_rename(sim, from, to);
	return sim_end(sim, err, "rename", from, r);
}

static int do_unlink(struct sim *sim, const char *path)
{
	struct sim_inode *dir;
	struct sim_inode *inode;
	char name[SIM_NAME_MAX + 1];
	int r = sim_lookup_parent(sim, path, &dir, name);

	if (r < 0)
		return r == -EEXIST ? -EISDIR : r;
	inode = sim_name_find(dir, name);
	if (!inode)
		return -ENOENT;
	if (inode->directory)
		return -EISDIR;
	sim_name_remove(dir, name);
	return 0;
}

static int sim_unlink(struct vs_io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	int r = sim_begin(sim);

	if (!r)
		r = do_unlink(sim, path);
	return sim_end(sim, err, "unlink", path, r);
}

static int do_mkdir(struct sim *sim, const char *path)
{
	struct sim_inode *dir;
	struct sim_inode *inode;
	char name[SIM_NAME_MAX + 1];
	int r = sim_lookup(sim, path, &inode);

	if (r != -ENOENT)
		return !r && !inode->directory ? -EEXIST : r;
	r = sim_lookup_parent(sim, path, &dir, name);
	if (r < 0)
		return r;
	inode = sim_inode_new(sim, true);
	sim_name_add(dir, name, inode);
	return 0;
}

static int sim_mkdir(struct vs_io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	int r = sim_begin(sim);

	if (!r)
		r = do_mkdir(sim, path);
	return sim_end(sim, err, "make directory", path, r);
}

static int sim_sync_dir(struct vs_io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	struct sim_inode *dir;
	int r = sim_begin(sim);

	if (!r)
		r = find_dir(sim, path, &dir);
	if (!r && sim_fails_names(sim, path))
		r = -EIO;
	if (!r && !sim->dying && !sim->lying_sync_dir &&
	    !sim_lies(sim, SIM_LIE_NAMES, path))
		sim_names_sync(dir);
	sim->count.dir_syncs++;
	return sim_end(sim, err, "sync directory", path, r);
}

static int sim_list(struct vs_io *io, const char *path, io_list_fn *fn,
		    void *arg, struct err *err)
{
	struct sim *sim = sim_of(io);
	struct sim_inode *dir;
	int r = find_dir(sim, path, &dir);

	r = result(sim, err, "list", path, r);
	return r < 0 ? r : sim_names_list(dir, fn, arg);
}

static void fill_stat(const struct sim_inode *inode, struct io_stat *st)
{
	*st = (struct io_stat){
		.size_bytes = inode->size,
		.allocated_bytes = inode->allocated,
		.kind = inode->directory ? IO_KIND_DIRECTORY : IO_KIND_FILE,
		.modified_ns = inode->modified_ns,
		.device = 1,
		.inode = inode->number,
	};
}

static int sim_stat(struct vs_io *io, const char *path, struct io_stat *st,
		    struct err *err)
{
	struct sim *sim = sim_of(io);
	struct sim_inode *inode;
	int r = result(sim, err, "stat", path, sim_lookup(sim, path, &inode));

	if (!r)
		fill_stat(inode, st);
	return r;
}

static int sim_fstat(struct vs_io *io, int file, struct io_stat *st,
		     struct err *err)
{
	struct sim *sim = sim_of(io);
	const struct sim_handle *handle = sim_handle_get(sim, file);
	int r = result(sim, err, "stat",
		       handle ? handle->inode->label : "a closed file",
		       handle ? 0 : -EBADF);

	if (!r)
		fill_stat(handle->inode, st);
	return r;
}

static void sim_io_free(struct vs_io *io)
{
	sim_free(sim_of(io));
}

const struct vs_io_ops sim_ops = {
	.name = "simulated",
	.open = sim_open,
	.create_unnamed = sim_create_unnamed,
	.set_direct = sim_set_direct,
	.link = sim_link,
	.close = sim_close,
	.lock = sim_lock,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.mkdir = sim_mkdir,
	.sync_dir = sim_sync_dir,
	.list = sim_list,
	.stat = sim_stat,
	.fstat = sim_fstat,
	.read = sim_io_read,
	.write = sim_io_write,
	.sync = sim_io_sync,
	.sync_data = sim_io_sync,
	.truncate = sim_io_truncate,
	.punch = sim_io_punch,
	.reserve = sim_io_reserve,
	.seek_data = sim_io_seek_data,
	.is_cached = sim_is_cached,
	.start_writeback = sim_io_hint,
	.will_read = sim_io_hint,
	.queue_new = sim_queue_new,
	.queue_submit = sim_queue_submit,
	.queue_reap = sim_queue_reap,
	.queue_fd = sim_queue_fd,
	.queue_free = sim_queue_free,
	.free = sim_io_free,
};
