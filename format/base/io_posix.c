/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on the real kernel: opening, naming, reading, holes. A file handle is
 * a descriptor. EINTR is retried everywhere but in sync: there the kernel may
 * already have dropped a write error that it would have told, and a second
 * sync that succeeds would be a lie.
 */
#include "format/base/io_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "format/base/base.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* on every architecture that we build for */
#endif

int io_posix_check_depth(unsigned depth, struct err *err)
{
	if (depth < 1 || depth > IO_QUEUE_DEPTH_MAX)
		return err_set(err, -EINVAL,
			       "an I/O queue of depth %u: must be 1 to %u",
			       depth, IO_QUEUE_DEPTH_MAX);
	return 0;
}

ssize_t io_posix_run(struct vs_io *io, const struct io_request *request)
{
	switch (request->op) {
	case IO_OP_READ:
		return io_posix_read(io, request->file, request->buffer,
				     request->length, request->offset);
	case IO_OP_WRITE:
		return io_posix_write(io, request->file, request->buffer,
				      request->length, request->offset);
	case IO_OP_SYNC:
		return io_posix_sync(io, request->file);
	}
	return -EINVAL;
}

int io_posix_open(struct vs_io *io, const char *path, int flags,
		  struct err *err)
{
	/* A FIFO that someone left in a store must not hang us at open. */
	int how = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd;

	(void)io;
	if ((flags & IO_CREATE && !(flags & IO_READ_WRITE)) ||
	    (flags & IO_EXCLUSIVE && !(flags & IO_CREATE)) ||
	    (flags & IO_CLAIM && flags & IO_CREATE))
		return err_set(err, -EINVAL, "can't open '%s' with flags %#x",
			       path, (unsigned)flags);
	how |= flags & IO_READ_WRITE ? O_RDWR : O_RDONLY;
	if (flags & IO_CREATE)
		how |= O_CREAT;
	/* To a block device, without O_CREAT, O_EXCL means to claim it. */
	if (flags & (IO_EXCLUSIVE | IO_CLAIM))
		how |= O_EXCL;
	if (flags & IO_NO_FOLLOW)
		how |= O_NOFOLLOW;
	do
		fd = open(path, how, 0600);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(err, -errno, "can't %s '%s'",
			       flags & IO_EXCLUSIVE ? "create" : "open", path);

	/*
	 * O_DIRECT comes second: an open() that fails for it may have made the
	 * file already. io_uring would fail with -EAGAIN under O_NONBLOCK.
	 */
	if (flags & IO_DIRECT && fcntl(fd, F_SETFL, O_DIRECT) == 0)
		return fd;
	if (fcntl(fd, F_SETFL, 0) < 0) {
		int code = -errno;

		close(fd);
		return err_sys(err, code, "can't open '%s'", path);
	}
	return fd;
}

int io_posix_lock(struct vs_io *io, int file, bool exclusive)
{
	struct flock all = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};
	int r;

	(void)io;
	do
		r = fcntl(file, F_OFD_SETLK, &all);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

int io_posix_rename(struct vs_io *io, const char *from, const char *to,
		    struct err *err)
{
	(void)io;
	if (rename(from, to) < 0)
		return err_sys(err, -errno, "can't rename '%s' to '%s'", from,
			       to);
	return 0;
}

bool io_posix_set_direct(struct vs_io *io, int file, bool on)
{
	int flags = fcntl(file, F_GETFL);

	(void)io;
	if (flags < 0)
		return false;
	flags = on ? flags | O_DIRECT : flags & ~O_DIRECT;
	return fcntl(file, F_SETFL, flags) == 0;
}

int io_posix_unlink(struct vs_io *io, const char *path, struct err *err)
{
	(void)io;
	if (unlink(path) < 0)
		return err_sys(err, -errno, "can't remove '%s'", path);
	return 0;
}

int io_posix_mkdir(struct vs_io *io, const char *path, struct err *err)
{
	struct stat st;

	(void)io;
	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(err, -errno, "can't make directory '%s'", path);
	if (stat(path, &st) < 0)
		return err_sys(err, -errno, "can't make directory '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_sys(err, -ENOTDIR, "can't make directory '%s'",
			       path);
	return 0;
}

static int open_dir(const char *path)
{
	int fd;

	do
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int io_posix_sync_dir(struct vs_io *io, const char *path, struct err *err)
{
	autofd int fd = open_dir(path);

	(void)io;
	if (fd < 0)
		return err_sys(err, fd, "can't open directory '%s'", path);
	/* EINVAL: the file system knows no such thing (some of the network). */
	if (fsync(fd) < 0 && errno != EINVAL)
		return err_sys(err, -errno, "can't make directory '%s' durable",
			       path);
	return 0;
}

int io_posix_list(struct vs_io *io, const char *path, io_list_fn *fn, void *arg,
		  struct err *err)
{
	autofd int fd = open_dir(path);
	DIR *dir;
	int r = 0;

	(void)io;
	if (fd < 0)
		return err_sys(err, fd, "can't open directory '%s'", path);
	dir = fdopendir(fd);
	if (!dir)
		return err_sys(err, -errno, "can't list '%s'", path);
	fd_steal(&fd);
	while (r == 0) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno)
				r = err_sys(err, -errno, "can't list '%s'",
					    path);
			break;
		}
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = fn(arg, entry->d_name);
	}
	closedir(dir);
	return r;
}

static enum io_kind kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return IO_KIND_FILE;
	if (S_ISDIR(mode))
		return IO_KIND_DIRECTORY;
	if (S_ISBLK(mode))
		return IO_KIND_BLOCK;
	return IO_KIND_OTHER;
}

static void stat_fill(struct io_stat *out, const struct stat *st)
{
	int64_t ns;

	/* A file may claim any time; what doesn't fit is as far as it goes. */
	if (__builtin_mul_overflow((int64_t)st->st_mtim.tv_sec,
				   (int64_t)1000000000, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)st->st_mtim.tv_nsec, &ns))
		ns = st->st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	*out = (struct io_stat){
		.size_bytes = (uint64_t)st->st_size,
		.allocated_bytes = (uint64_t)st->st_blocks * 512,
		.kind = kind_of(st->st_mode),
		.modified_ns = ns,
		.device = S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev,
		.inode = st->st_ino,
	};
}

/* -errno; words are the caller's. */
static int stat_fd(int fd, struct io_stat *out)
{
	struct stat st;
	struct io_stat filled;

	if (fstat(fd, &st) < 0)
		return -errno;
	stat_fill(&filled, &st);
	if (filled.kind == IO_KIND_BLOCK) {
		uint64_t size = 0;

		if (ioctl(fd, BLKGETSIZE64, &size) < 0)
			return -errno;
		filled.size_bytes = size;
		filled.allocated_bytes = size;
	}
	*out = filled;
	return 0;
}

int io_posix_stat(struct vs_io *io, const char *path, struct io_stat *out,
		  struct err *err)
{
	struct stat st;
	int r = 0;

	(void)io;
	if (stat(path, &st) < 0)
		return err_sys(err, -errno, "can't stat '%s'", path);
	if (S_ISBLK(st.st_mode)) {
		autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		r = fd < 0 ? -errno : stat_fd(fd, out);
		if (r < 0)
			return err_sys(err, r, "can't get the size of '%s'",
				       path);
		return 0;
	}
	stat_fill(out, &st);
	return 0;
}

int io_posix_fstat(struct vs_io *io, int file, struct io_stat *st,
		   struct err *err)
{
	int r = stat_fd(file, st);

	(void)io;
	if (r < 0)
		return err_sys(err, r, "can't stat an open file");
	return 0;
}

/* An offset above INT64_MAX turns negative and is the kernel's -EINVAL. */

ssize_t io_posix_read(struct vs_io *io, int file, void *buffer, size_t length,
		      uint64_t offset)
{
	ssize_t got;

	(void)io;
	do
		got = pread(file, buffer, length, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t io_posix_write(struct vs_io *io, int file, const void *buffer,
		       size_t length, uint64_t offset)
{
	ssize_t put;

	(void)io;
	do
		put = pwrite(file, buffer, length, (off_t)offset);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

int io_posix_sync(struct vs_io *io, int file)
{
	(void)io;
	return fsync(file) < 0 ? -errno : 0;
}

int io_posix_sync_data(struct vs_io *io, int file)
{
	(void)io;
	return fdatasync(file) < 0 ? -errno : 0;
}

int io_posix_truncate(struct vs_io *io, int file, uint64_t size)
{
	int r;

	(void)io;
	do
		r = ftruncate(file, (off_t)size);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int io_posix_punch(struct vs_io *io, int file, uint64_t offset, uint64_t length)
{
	uint64_t range[2] = { offset, length };
	struct stat st;
	int r;

	(void)io;
	if (!length)
		return 0;
	do
		r = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)offset, (off_t)length);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	/* A device that can't unmap can still be zeroed without a buffer. */
	if (fstat(file, &st) < 0 || !S_ISBLK(st.st_mode))
		return -EOPNOTSUPP;
	if (ioctl(file, BLKZEROOUT, range) == 0)
		return 0;
	return errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

static int all_is_data(int file, uint64_t offset, uint64_t *start,
		       uint64_t *end)
{
	struct io_stat st;
	int r = stat_fd(file, &st);

	if (r < 0)
		return r;
	if (offset >= st.size_bytes)
		return -ENXIO;
	*start = offset;
	*end = st.size_bytes;
	return 0;
}

int io_posix_reserve(struct vs_io *io, int file, uint64_t offset,
		     uint64_t length)
{
	int r;

	(void)io;
	do
		r = fallocate(file, 0, (off_t)offset, (off_t)length);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int io_posix_seek_data(struct vs_io *io, int file, uint64_t offset,
		       uint64_t *start, uint64_t *end)
{
	off_t data, hole;

	(void)io;
	/* The position is nobody else's: all reads and writes give theirs. */
	data = lseek(file, (off_t)offset, SEEK_DATA);
	if (data < 0) {
		if (errno == EINVAL || errno == EOPNOTSUPP)
			return all_is_data(file, offset, start, end);
		return -errno;
	}
	hole = lseek(file, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	/* The file changed in between: the hole is where data was. */
	if (hole <= data)
		return all_is_data(file, offset, start, end);
	*start = (uint64_t)data;
	*end = (uint64_t)hole;
	return 0;
}

/* cachestat(2), which is younger than the C library. */
bool io_posix_is_cached(struct vs_io *io, int file, uint64_t offset,
			uint64_t length)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct {
		uint64_t offset, length;
	} range = { offset, length };
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} found;
	uint64_t last;

	(void)io;
	if (!length || __builtin_add_overflow(offset, length - 1, &last))
		return false;
	return syscall(SYS_cachestat, file, &range, &found, 0) == 0 &&
	       found.cached == last / page - offset / page + 1;
}

void io_posix_start_writeback(struct vs_io *io, int file, uint64_t offset,
			      uint64_t length)
{
	(void)io;
	/* To the kernel, no length means "to the end". */
	if (length)
		(void)sync_file_range(file, (off_t)offset, (off_t)length,
				      SYNC_FILE_RANGE_WRITE);
}

void io_posix_will_read(struct vs_io *io, int file, uint64_t offset,
			uint64_t length)
{
	(void)io;
	if (length)
		(void)posix_fadvise(file, (off_t)offset, (off_t)length,
				    POSIX_FADV_WILLNEED);
}
