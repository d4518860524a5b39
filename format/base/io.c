/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice between the implementations, and the loops over their ops that
 * all callers share. Knows nothing of the kernel: these loops run over the
 * simulated disk too.
 */
#include "format/base/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/base/bytes.h"

typedef struct vs_io *io_make(struct err *err);

static struct vs_io *choose(io_make *without_rings, struct err *err)
{
	static const struct {
		const char *name;
		io_make *make;
	} ways[] = {
		{ "plain", io_new_plain },
		{ "threads", io_new_threads },
		{ "uring", io_new_uring },
	};
	const char *wanted = getenv("VMSNAP_IO");
	struct vs_io *io;

	for (size_t i = 0; wanted && i < ARRAY_SIZE(ways); i++) {
		if (!strcmp(wanted, ways[i].name))
			return ways[i].make(err);
	}
	if (wanted && *wanted) {
		err_set(err, -EINVAL,
			"VMSNAP_IO is '%s': must be 'uring', 'threads' or "
			"'plain'",
			wanted);
		return NULL;
	}
	io = io_new_uring(NULL);
	return io ? io : without_rings(err);
}

struct vs_io *io_new(struct err *err)
{
	return choose(io_new_plain, err);
}

struct vs_io *io_new_waitless(struct err *err)
{
	return choose(io_new_threads, err);
}

void io_free(struct vs_io *io)
{
	if (io)
		io->ops->free(io);
}

int io_read_full(struct vs_io *io, int file, void *buffer, size_t length,
		 uint64_t offset)
{
	uint8_t *at = buffer;

	while (length) {
		ssize_t got = io->ops->read(io, file, at, length, offset);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return -ENODATA;
		at += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

int io_write_full(struct vs_io *io, int file, const void *buffer, size_t length,
		  uint64_t offset)
{
	const uint8_t *at = buffer;

	while (length) {
		ssize_t put = io->ops->write(io, file, at, length, offset);

		if (put < 0)
			return (int)put;
		if (put == 0)
			return -EIO;
		at += put;
		offset += (uint64_t)put;
		length -= (size_t)put;
	}
	return 0;
}

static int too_big(const char *path, size_t max, struct err *err)
{
	return err_set(err, -EFBIG, "'%s' is larger than %zu bytes", path, max);
}

/* To the end of the file, whatever fstat() said: it may be growing. */
static int read_rest(struct vs_io *io, int file, const char *path, size_t max,
		     struct bytes *into, struct err *err)
{
	ssize_t got;

	for (;;) {
		/* The byte above `max` tells a full file from one too big. */
		if (into->size == into->capacity) {
			int r = bytes_reserve(into, 1, err);

			if (r < 0)
				return r;
		}
		got = io->ops->read(io, file, into->data + into->size,
				    into->capacity - into->size, into->size);
		if (got < 0)
			return err_sys(err, (int)got,
				       "can't read '%s' at byte %zu", path,
				       into->size);
		if (got == 0)
			return 0;
		into->size += (size_t)got;
		if (into->size > max)
			return too_big(path, max, err);
	}
}

static int read_file(struct vs_io *io, int file, const char *path, size_t max,
		     struct bytes *into, struct err *err)
{
	struct io_stat st;
	int r = io->ops->fstat(io, file, &st, err);

	if (r < 0)
		return r;
	if (st.kind == IO_KIND_DIRECTORY)
		return err_set(err, -EISDIR, "'%s' is a directory", path);
	if (st.kind != IO_KIND_FILE)
		return err_set(err, -EINVAL, "'%s' is not a regular file",
			       path);
	if (st.size_bytes > max)
		return too_big(path, max, err);
	/* Reserved at once, so that a secret is never left in an old copy. */
	r = bytes_reserve(into, (size_t)st.size_bytes + 1, err);
	if (r < 0)
		return r;
	return read_rest(io, file, path, max, into, err);
}

int io_read_file(struct vs_io *io, const char *path, size_t max,
		 struct bytes *out, struct err *err)
{
	struct bytes read = { 0 };
	int r, file = io->ops->open(io, path, IO_READ_ONLY, err);

	if (file < 0)
		return file;
	r = read_file(io, file, path, max, &read, err);
	io->ops->close(io, file);
	if (r < 0) {
		bytes_release_secret(&read);
		return r;
	}
	bytes_release(out);
	*out = read;
	return 0;
}

static int write_and_link(struct vs_io *io, int file, const char *path,
			  const void *data, size_t size, struct err *err)
{
	int r = io_write_full(io, file, data, size, 0);

	if (r < 0)
		return err_sys(err, r, "can't write '%s'", path);
	r = io->ops->sync(io, file);
	if (r < 0)
		return err_sys(err, r, "can't make '%s' durable", path);
	return io->ops->link(io, file, path, err);
}

int io_write_new(struct vs_io *io, const char *dir, const char *name,
		 const void *data, size_t size, struct err *err)
{
	autofree char *path = NULL;
	int r, closed, file;

	if (!*name || strchr(name, '/'))
		return err_set(err, -EINVAL, "'%s' is not a file's name", name);
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	file = io->ops->create_unnamed(io, dir, err);
	if (file < 0)
		return file;
	r = write_and_link(io, file, path, data, size, err);
	closed = io->ops->close(io, file);
	if (r < 0)
		return r;
	if (closed < 0)
		return err_sys(err, closed, "can't close '%s'", path);
	return io->ops->sync_dir(io, dir, err);
}
