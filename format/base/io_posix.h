/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the implementations on the real kernel share: every op but the queues.
 * Private to format/base and its tests.
 */
#ifndef FORMAT_BASE_IO_POSIX_H
#define FORMAT_BASE_IO_POSIX_H

#include <pthread.h>

#include "format/base/io.h"

#define IO_QUEUE_DEPTH_MAX 4096

struct io_posix_name;
struct io_pool;

struct io_posix {
	struct vs_io io;
	bool no_tmpfile;             /* a test: as if O_TMPFILE were unknown */
	pthread_mutex_t lock;        /* guards `names` */
	struct io_posix_name *names; /* of "unnamed" files that have one */
	struct io_pool *pool;        /* of io_threads.c */
};

/* An io with these ops; freed by io_posix_free(). NULL with words. */
struct vs_io *io_posix_new(const struct vs_io_ops *ops, struct err *err);
void io_posix_free(struct vs_io *io);

/* 0, or -EINVAL with words. */
int io_posix_check_depth(unsigned depth, struct err *err);

/* Do a request here and now; returns its result. */
ssize_t io_posix_run(struct vs_io *io, const struct io_request *request);

int io_posix_open(struct vs_io *io, const char *path, int flags,
		  struct err *err);
bool io_posix_set_direct(struct vs_io *io, int file, bool on);
int io_posix_create_unnamed(struct vs_io *io, const char *dir, struct err *err);
int io_posix_link(struct vs_io *io, int file, const char *path,
		  struct err *err);
int io_posix_close(struct vs_io *io, int file);
int io_posix_lock(struct vs_io *io, int file, bool exclusive);
int io_posix_rename(struct vs_io *io, const char *from, const char *to,
		    struct err *err);
int io_posix_unlink(struct vs_io *io, const char *path, struct err *err);
int io_posix_mkdir(struct vs_io *io, const char *path, struct err *err);
int io_posix_sync_dir(struct vs_io *io, const char *path, struct err *err);
int io_posix_list(struct vs_io *io, const char *path, io_list_fn *fn, void *arg,
		  struct err *err);
int io_posix_stat(struct vs_io *io, const char *path, struct io_stat *st,
		  struct err *err);
int io_posix_fstat(struct vs_io *io, int file, struct io_stat *st,
		   struct err *err);
ssize_t io_posix_read(struct vs_io *io, int file, void *buffer, size_t length,
		      uint64_t offset);
ssize_t io_posix_write(struct vs_io *io, int file, const void *buffer,
		       size_t length, uint64_t offset);
int io_posix_sync(struct vs_io *io, int file);
int io_posix_sync_data(struct vs_io *io, int file);
int io_posix_truncate(struct vs_io *io, int file, uint64_t size);
int io_posix_punch(struct vs_io *io, int file, uint64_t offset,
		   uint64_t length);
int io_posix_reserve(struct vs_io *io, int file, uint64_t offset,
		     uint64_t length);
int io_posix_seek_data(struct vs_io *io, int file, uint64_t offset,
		       uint64_t *start, uint64_t *end);
bool io_posix_is_cached(struct vs_io *io, int file, uint64_t offset,
			uint64_t length);
void io_posix_start_writeback(struct vs_io *io, int file, uint64_t offset,
			      uint64_t length);
void io_posix_will_read(struct vs_io *io, int file, uint64_t offset,
			uint64_t length);

/* clang-format off */
#define IO_POSIX_OPS                                                           \
	.open = io_posix_open,                                                 \
	.create_unnamed = io_posix_create_unnamed,                             \
	.set_direct = io_posix_set_direct,                                     \
	.link = io_posix_link,                                                 \
	.close = io_posix_close,                                               \
	.lock = io_posix_lock,                                                 \
	.rename = io_posix_rename,                                             \
	.unlink = io_posix_unlink,                                             \
	.mkdir = io_posix_mkdir,                                               \
	.sync_dir = io_posix_sync_dir,                                         \
	.list = io_posix_list,                                                 \
	.stat = io_posix_stat,                                                 \
	.fstat = io_posix_fstat,                                               \
	.read = io_posix_read,                                                 \
	.write = io_posix_write,                                               \
	.sync = io_posix_sync,                                                 \
	.sync_data = io_posix_sync_data,                                       \
	.truncate = io_posix_truncate,                                         \
	.punch = io_posix_punch,                                               \
	.reserve = io_posix_reserve,                                           \
	.seek_data = io_posix_seek_data,                                       \
	.is_cached = io_posix_is_cached,                                       \
	.start_writeback = io_posix_start_writeback,                           \
	.will_read = io_posix_will_read
/* clang-format on */

#endif
