/* SPDX-License-Identifier: Apache-2.0 */
/* Files on a simulated disk, for its tests; each fails the test that calls. */
#ifndef TESTS_UNIT_SIM_FILES_H
#define TESTS_UNIT_SIM_FILES_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "tests/sim/sim.h"

#define SEEDS 300
#define BLOCK 4096U

static inline int open_file(struct vs_io *io, const char *path, int flags)
{
	struct err err;
	int file = io->ops->open(io, path, flags, &err);

	assert_true(file >= 0);
	return file;
}

static inline int make_file(struct vs_io *io, const char *path)
{
	return open_file(io, path, IO_READ_WRITE | IO_CREATE | IO_EXCLUSIVE);
}

static inline void fill(struct vs_io *io, int file, char c, size_t length,
			uint64_t offset)
{
	char *data = malloc(length);

	assert_non_null(data);
	memset(data, c, length);
	assert_int_equal(io->ops->write(io, file, data, length, offset),
			 length);
	free(data);
}

static inline void make_dir(struct vs_io *io, const char *path)
{
	assert_int_equal(io->ops->mkdir(io, path, NULL), 0);
}

static inline void sync_file(struct vs_io *io, int file)
{
	assert_int_equal(io->ops->sync(io, file), 0);
}

static inline void sync_dir(struct vs_io *io, const char *path)
{
	assert_int_equal(io->ops->sync_dir(io, path, NULL), 0);
}

static inline void close_file(struct vs_io *io, int file)
{
	assert_int_equal(io->ops->close(io, file), 0);
}

/* A durable file of `length` times `c`; open. */
static inline int make_durable(struct vs_io *io, const char *path, char c,
			       size_t length)
{
	int file = make_file(io, path);

	fill(io, file, c, length, 0);
	sync_file(io, file);
	sync_dir(io, "/");
	return file;
}

static inline bool there(struct vs_io *io, const char *path)
{
	struct io_stat st;
	int r = io->ops->stat(io, path, &st, NULL);

	assert_true(r == 0 || r == -ENOENT);
	return !r;
}

/* Up to `max` bytes of a file; how many. */
static inline size_t get(struct vs_io *io, const char *path, char *data,
			 size_t max)
{
	int file = open_file(io, path, IO_READ_ONLY);
	size_t n = 0;
	ssize_t r;

	while ((r = io->ops->read(io, file, data + n, max - n, n)) > 0)
		n += (size_t)r;
	assert_int_equal(r, 0);
	close_file(io, file);
	return n;
}

/* The one byte that all of the range is, or '?'. */
static inline char all_of(const char *data, size_t length)
{
	size_t i;

	for (i = 1; i < length; i++) {
		if (data[i] != data[0])
			return '?';
	}
	return data[0];
}

#endif
