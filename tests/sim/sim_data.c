/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls on the data of an open file of the simulated disk: who may, how
 * much at once, and what a fault leaves behind.
 */
#include <errno.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

static struct sim *sim_of(struct vs_io *io)
{
	return container_of(io, struct sim, io);
}

/* The file of a handle that may be used so. */
static int file_of(struct sim *sim, int file, bool write,
		   struct sim_handle **out)
{
	struct sim_handle *handle = sim_handle_get(sim, file);

	if (!handle || (write && !(handle->flags & IO_READ_WRITE)))
		return -EBADF;
	if (handle->inode->directory)
		return -EISDIR;
	*out = handle;
	return 0;
}

static int check_range(const struct sim_handle *handle, const void *buffer,
		       uint64_t length, uint64_t offset)
{
	if (offset > SIM_FILE_SIZE_MAX || length > SIM_FILE_SIZE_MAX - offset)
		return -EFBIG;
	if (handle->flags & IO_DIRECT &&
	    (offset | length | (uintptr_t)buffer) % SIM_SECTOR_SIZE)
		return -EINVAL;
	return 0;
}

static size_t shorten(struct sim *sim, const struct sim_handle *handle,
		      size_t length)
{
	size_t unit = handle->flags & IO_DIRECT ? SIM_SECTOR_SIZE : 1;

	if (length <= unit || !sim_one_in(sim, sim->short_one_in))
		return length;
	return unit * (1 + (size_t)sim_pick(sim, (length - 1) / unit));
}

ssize_t sim_io_read(struct vs_io *io, int file, void *buffer, size_t length,
		    uint64_t offset)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle;
	int r;

	if (sim->off)
		return -EIO;
	r = file_of(sim, file, false, &handle);
	if (!r)
		r = check_range(handle, buffer, length, offset);
	if (r < 0)
		return r;
	length = sim_read(handle->inode, buffer, shorten(sim, handle, length),
			  offset);
	sim->count.bytes_read += length;
	return (ssize_t)length;
}

/* How far a write got that failed; one of whole sectors leaves whole ones. */
static size_t got_to(struct sim *sim, size_t length, uint64_t offset)
{
	size_t unit = (length | offset) % SIM_SECTOR_SIZE ? 1 : SIM_SECTOR_SIZE;

	return unit * (size_t)sim_pick(sim, length / unit + 1);
}

ssize_t sim_io_write(struct vs_io *io, int file, const void *buffer,
		     size_t length, uint64_t offset)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle;
	ssize_t r = file_of(sim, file, true, &handle);
	int begun;

	if (!r)
		r = check_range(handle, buffer, length, offset);
	if (r < 0)
		return sim->off ? -EIO : r;
	begun = sim_begin(sim);
	if (!begun)
		r = sim_write(handle->inode, buffer,
			      shorten(sim, handle, length), offset);
	else if (sim->faulted && begun == -EIO)
		sim_write(handle->inode, buffer, got_to(sim, length, offset),
			  offset);
	return sim_end_data(sim, "write", handle->inode, offset, length,
			    begun ? begun : r);
}

void sim_io_write_last(struct sim *sim, const struct io_request *request)
{
	struct sim_handle *handle;

	if (request->op != IO_OP_WRITE || !sim_one_in(sim, 2) ||
	    file_of(sim, request->file, true, &handle) ||
	    check_range(handle, request->buffer, request->length,
			request->offset))
		return;
	sim_write(handle->inode, request->buffer, request->length,
		  request->offset);
}

static void sync_inode(struct sim *sim, struct sim_inode *inode)
{
	if (!inode->directory && sim_lies(sim, SIM_LIE_TAIL, inode->label))
		sim_inode_sync_but_tail(inode);
	else if (!inode->directory && !sim->lying_sync &&
		 !sim_lies(sim, SIM_LIE_DATA, inode->label))
		sim_inode_sync(inode);
	if (inode->directory && !sim->lying_sync_dir)
		sim_names_sync(inode);
}

int sim_io_sync(struct vs_io *io, int file)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle = sim_handle_get(sim, file);
	int r;

	if (!handle)
		return sim->off ? -EIO : -EBADF;
	r = sim_begin(sim);
	if (sim->faulted)
		sim_inode_gate(handle->inode);
	else if (!r && !sim->dying)
		sync_inode(sim, handle->inode);
	sim->count.syncs++;
	return (int)sim_end_data(sim, "sync", handle->inode, 0, 0, r);
}

int sim_io_truncate(struct vs_io *io, int file, uint64_t size)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle;
	int r = file_of(sim, file, true, &handle);

	if (!r && size > SIM_FILE_SIZE_MAX)
		r = -EFBIG;
	if (r < 0)
		return sim->off ? -EIO : r;
	r = sim_begin(sim);
	if (!r)
		sim_truncate(handle->inode, size);
	return (int)sim_end_data(sim, "truncate", handle->inode, size, 0, r);
}

int sim_io_punch(struct vs_io *io, int file, uint64_t offset, uint64_t length)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle;
	int r = file_of(sim, file, true, &handle);

	if (!r && !length)
		r = -EINVAL;
	if (!r &&
	    (offset > SIM_FILE_SIZE_MAX || length > SIM_FILE_SIZE_MAX - offset))
		r = -EFBIG;
	if (r < 0)
		return sim->off ? -EIO : r;
	r = sim_begin(sim);
	if (!r)
		sim_punch(handle->inode, offset, length);
	return (int)sim_end_data(sim, "punch", handle->inode, offset, length,
				 r);
}

int sim_io_seek_data(struct vs_io *io, int file, uint64_t offset,
		     uint64_t *start, uint64_t *end)
{
	struct sim *sim = sim_of(io);
	struct sim_handle *handle;
	int r;

	if (sim->off)
		return -EIO;
	r = file_of(sim, file, false, &handle);
	return r ? r : sim_seek_data(handle->inode, offset, start, end);
}

/* Like many a file system: who wants the space writes zeros. */
int sim_io_reserve(struct vs_io *io, int file, uint64_t offset, uint64_t length)
{
	(void)io;
	(void)file;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

/* Write-back makes nothing certain, so here it is nothing at all. */
void sim_io_hint(struct vs_io *io, int file, uint64_t offset, uint64_t length)
{
	(void)io;
	(void)file;
	(void)offset;
	(void)length;
}
