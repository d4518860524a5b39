/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files without a name, and how they get one. Where the file system has
 * O_TMPFILE a crash leaves nothing behind. Elsewhere (NFS, FUSE, old overlays)
 * the file lies under a random name `.tmp-...` in its directory until it is
 * linked or closed; what a crash leaves is for whoever owns the directory to
 * sweep. No way of linking here ever replaces a file that exists.
 */
#include "format/base/io_posix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/base/base.h"

#define NAME_RANDOM_BYTES 16
#define NAME_TRIES        16

struct io_posix_name {
	struct io_posix_name *next;
	int file;
	char path[];
};

struct vs_io *io_posix_new(const struct vs_io_ops *ops, struct err *err)
{
	struct io_posix *posix = NULL;

	if (alloc_array(&posix, 1, sizeof(*posix), err) < 0)
		return NULL;
	posix->io.ops = ops;
	pthread_mutex_init(&posix->lock, NULL);
	return &posix->io;
}

void io_posix_free(struct vs_io *io)
{
	struct io_posix *posix = container_of(io, struct io_posix, io);

	/* One is left only when a caller forgot to close its file. */
	while (posix->names) {
		struct io_posix_name *name = posix->names;

		posix->names = name->next;
		unlink(name->path);
		free(name);
	}
	pthread_mutex_destroy(&posix->lock);
	free(posix);
}

/* Out of the table, or NULL: that file has none. The caller frees it. */
static struct io_posix_name *take_name(struct io_posix *posix, int file)
{
	struct io_posix_name **at, *found = NULL;

	pthread_mutex_lock(&posix->lock);
	for (at = &posix->names; *at; at = &(*at)->next)
		if ((*at)->file == file) {
			found = *at;
			*at = found->next;
			break;
		}
	pthread_mutex_unlock(&posix->lock);
	return found;
}

static void put_name(struct io_posix *posix, struct io_posix_name *name)
{
	pthread_mutex_lock(&posix->lock);
	name->next = posix->names;
	posix->names = name;
	pthread_mutex_unlock(&posix->lock);
}

static int create_named(struct io_posix *posix, const char *dir,
			struct err *err)
{
	size_t size = strlen(dir) + sizeof("/.tmp-") + 2 * NAME_RANDOM_BYTES;
	autofree struct io_posix_name *name = NULL;
	char hex[2 * NAME_RANDOM_BYTES + 1];
	uint8_t random[NAME_RANDOM_BYTES];
	int r, fd = -1;

	r = alloc_array(&name, 1, sizeof(*name) + size, err);
	if (r < 0)
		return r;
	for (int tries = 0; tries < NAME_TRIES; tries++) {
		r = random_fill(random, sizeof(random), err);
		if (r < 0)
			return r;
		hex_encode(hex, random, sizeof(random));
		snprintf(name->path, size, "%s/.tmp-%s", dir, hex);
		fd = open(name->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			  0600);
		if (fd >= 0 || (errno != EEXIST && errno != EINTR))
			break;
	}
	if (fd < 0)
		return err_sys(err, -errno, "can't create a file in '%s'", dir);
	name->file = fd;
	put_name(posix, ptr_steal(&name));
	return fd;
}

int io_posix_create_unnamed(struct vs_io *io, const char *dir, struct err *err)
{
	struct io_posix *posix = container_of(io, struct io_posix, io);
	int fd;

	/* It gets its name by way of /proc, which a sandbox may not have. */
	if (posix->no_tmpfile || access("/proc/self/fd", F_OK) < 0)
		return create_named(posix, dir, err);
	do
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)
		return create_named(posix, dir, err);
	return err_sys(err, -errno, "can't create a file in '%s'", dir);
}

static int link_tmpfile(int file, const char *path)
{
	char proc[32];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", file);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	/* Either the directory is gone or there is no /proc in this sandbox;
	 * without /proc this works on new kernels or with the capability. */
	if (linkat(file, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	return -errno;
}

/* 0 when `from` is gone; 1 when it is still there beside `to`. */
static int move_name(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -errno;
	/* NFS and others have no such rename, but they have hard links. */
	if (link(from, to) < 0)
		return -errno;
	return unlink(from) == 0 ? 0 : 1;
}

int io_posix_link(struct vs_io *io, int file, const char *path, struct err *err)
{
	struct io_posix *posix = container_of(io, struct io_posix, io);
	struct io_posix_name *name = take_name(posix, file);
	int r;

	if (!name) {
		r = link_tmpfile(file, path);
	} else {
		r = move_name(name->path, path);
		/* Whatever is left of the old name goes at close. */
		if (r == 0)
			free(name);
		else
			put_name(posix, name);
	}
	if (r < 0)
		return err_sys(err, r, "can't create '%s'", path);
	return 0;
}

int io_posix_close(struct vs_io *io, int file)
{
	struct io_posix *posix = container_of(io, struct io_posix, io);
	/* Before close(): after it the number may be another thread's. */
	struct io_posix_name *name = take_name(posix, file);

	if (name) {
		unlink(name->path);
		free(name);
	}
	/* Linux has closed it by the time it can be interrupted. */
	if (close(file) < 0 && errno != EINTR)
		return -errno;
	return 0;
}
