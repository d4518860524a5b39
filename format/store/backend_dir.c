/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in a directory, over struct vs_io. This file: opening, creating,
 * reading, deleting, settling; puts, open files and listing have files of
 * their own. Refuses to create where anything stands already, and to follow a
 * symbolic link in place of an object.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

static const char *const folders[] = {
	"keys", DIR_PACKS, "tables", "snapshots", "pins", "condemned",
};

char *dir_path(const struct dir_backend *dir, const char *name, struct err *err)
{
	char *path;

	if (asprintf(&path, "%s%s%s", dir->path,
		     *name && strcmp(dir->path, "/") ? "/" : "", name) < 0) {
		err_set(err, -ENOMEM, "out of memory for a path");
		return NULL;
	}
	return path;
}

int dir_fail(const struct dir_backend *dir, int code, const char *doing,
	     const char *name, struct err *err)
{
	const char *slash = *name ? "/" : "";

	if (code == -ENOSPC || code == -EDQUOT)
		return err_sys(err, code,
			       "can't %s '%s%s%s': make room there, then run "
			       "again",
			       doing, dir->shown, slash, name);
	if (code == -EROFS)
		return err_set(err, code,
			       "can't %s '%s%s%s': the file system is mounted "
			       "read-only",
			       doing, dir->shown, slash, name);
	return err_sys(err, code, "can't %s '%s%s%s'", doing, dir->shown, slash,
		       name);
}

int dir_subfolder(const char *two)
{
	uint8_t number;

	if (hex_decode(&number, 1, two, strlen(two)) < 0)
		return -1;
	return number;
}

/* ---- create ---- */

static bool is_folder_of_ours(const char *name)
{
	for (size_t n = 0; n < ARRAY_SIZE(folders); n++) {
		if (strcmp(name, folders[n]) == 0)
			return true;
	}
	return false;
}

static int stop_at_first(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return -ENOTEMPTY;
}

/* An object's name, or that of a file that never got one. */
static int stop_at_foreign(void *arg, const char *name)
{
	(void)arg;
	return dir_could_be_ours(name) || dir_is_temporary(name) ? 0
								 : -ENOTEMPTY;
}

/* What an init that was cut off has left (folders, and key slots, which are for
 * the caller to judge) is no obstacle, nor is what a fresh file system comes
 * with. */
static int name_in_the_way(void *arg, const char *name)
{
	struct dir_backend *dir = arg;
	autofree char *path = NULL;
	int r;

	if (strcmp(name, "config") == 0)
		return -EEXIST;
	if (strcmp(name, "lost+found") == 0 || dir_is_temporary(name))
		return 0;
	if (!is_folder_of_ours(name))
		return -ENOTEMPTY;
	path = dir_path(dir, name, NULL);
	if (!path)
		return -ENOMEM;
	r = dir->io->ops->list(dir->io, path,
			       strcmp(name, "keys") ? stop_at_first
						    : stop_at_foreign,
			       NULL, NULL);
	return r == -ENOTDIR ? -ENOTEMPTY : r;
}

/* The directory that holds the store's. */
static int sync_parent(struct dir_backend *dir, struct err *err)
{
	const char *slash = strrchr(dir->path, '/');
	autofree char *parent = NULL;
	int r;

	parent = !slash ? strdup(".")
		 : slash == dir->path
			 ? strdup("/")
			 : strndup(dir->path, (size_t)(slash - dir->path));
	if (!parent)
		return err_set(err, -ENOMEM, "out of memory for a path");
	r = dir->io->ops->sync_dir(dir->io, parent, NULL);
	/* One may make things in a directory that one may not read. */
	if (r < 0 && r != -EACCES)
		return dir_fail(dir, r, "make durable", "", err);
	return 0;
}

static int dir_create(struct backend *backend, struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	struct vs_io *io = dir->io;
	int r = io->ops->mkdir(io, dir->path, NULL);

	if (r < 0)
		return dir_fail(dir, r, "make", "", err);
	r = io->ops->list(io, dir->path, name_in_the_way, dir, NULL);
	if (r == -EEXIST)
		return err_set(err, r,
			       "'%s' holds a store already: use it, or take "
			       "another directory",
			       dir->shown);
	if (r == -ENOTEMPTY)
		return err_set(err, -EEXIST,
			       "'%s' is not empty: a store needs a directory "
			       "of its own",
			       dir->shown);
	if (r < 0)
		return dir_fail(dir, r, "list", "", err);
	r = sync_parent(dir, err);
	for (size_t n = 0; n < ARRAY_SIZE(folders) && r == 0; n++) {
		autofree char *path = dir_path(dir, folders[n], err);

		if (!path)
			return -ENOMEM;
		r = io->ops->mkdir(io, path, NULL);
		if (r < 0)
			dir_fail(dir, r, "make", folders[n], err);
	}
	if (r < 0)
		return r;
	r = io->ops->sync_dir(io, dir->path, NULL);
	return r < 0 ? dir_fail(dir, r, "make durable", "", err) : 0;
}

/* ---- read ---- */

static int dir_get(struct backend *backend, const char *name, uint64_t offset,
		   void *buffer, size_t size, struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	struct dir_handle *handle, spare;
	int r = dir_handle_get(dir, name, false, &handle, &spare, err);

	if (r < 0)
		return r;
	r = -ENODATA;
	if (offset <= handle->size_bytes && size <= handle->size_bytes - offset)
		r = io_read_full(dir->io, handle->file, buffer, size, offset);
	if (r == -ENODATA)
		err_set(err, r,
			"'%s/%s' ends at %llu: %zu bytes at offset %llu are "
			"not there",
			dir->shown, name,
			(unsigned long long)handle->size_bytes, size,
			(unsigned long long)offset);
	else if (r < 0)
		err_sys(err, r, "can't read '%s/%s' at offset %llu", dir->shown,
			name, (unsigned long long)offset);
	dir_handle_put(dir, handle);
	return r;
}

/* Past the page cache in whole blocks, unless it has the part already. A part
 * that nobody reads again would only take the place of others there, and to
 * fill fresh pages costs a fifth of a restore's time. Whatever is wrong, be it
 * the file or that the file system won't, a read through the cache tells. */
static bool get_direct(struct dir_backend *dir, const char *name,
		       uint64_t offset, void *buffer, size_t size)
{
	uint64_t start = offset - offset % BACKEND_ALIGNMENT;
	size_t before = (size_t)(offset - start);
	size_t length = (before + size + BACKEND_ALIGNMENT - 1) /
			BACKEND_ALIGNMENT * BACKEND_ALIGNMENT;
	struct dir_handle *handle, spare;
	ssize_t got = -1;

	if (dir_handle_get(dir, name, true, &handle, &spare, NULL) < 0)
		return false;
	if (!dir->io->ops->is_cached(dir->io, handle->file, offset, size))
		got = dir->io->ops->read(dir->io, handle->file, buffer, length,
					 start);
	dir_handle_put(dir, handle);
	return got >= 0 && (size_t)got >= before + size;
}

static int dir_get_once(struct backend *backend, const char *name,
			uint64_t offset, void *buffer, size_t size,
			const uint8_t **at, struct err *err)
{
	struct dir_backend *dir = dir_of(backend);

	if (offset <= INT64_MAX && size <= SSIZE_MAX - BACKEND_ROOM &&
	    get_direct(dir, name, offset, buffer, size)) {
		*at = (const uint8_t *)buffer + offset % BACKEND_ALIGNMENT;
		return 0;
	}
	*at = buffer;
	return dir_get(backend, name, offset, buffer, size, err);
}

static int dir_size(struct backend *backend, const char *name, uint64_t *size,
		    struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	struct dir_handle *handle, spare;
	int r = dir_handle_get(dir, name, false, &handle, &spare, err);

	if (r < 0)
		return r;
	*size = handle->size_bytes;
	dir_handle_put(dir, handle);
	return 0;
}

/* ---- delete, settle ---- */

static int dir_delete(struct backend *backend, const char *name,
		      struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	autofree char *path = dir_path(dir, name, err);
	int r;

	if (!path)
		return -ENOMEM;
	r = dir->io->ops->unlink(dir->io, path, NULL);
	if (r < 0)
		return dir_fail(dir, r, "delete", name, err);
	dir_handle_drop(dir, name);
	return 0;
}

/* An absent folder has no names, nor has a file in its place. */
static int sync_folder(struct dir_backend *dir, const char *folder,
		       struct err *err)
{
	autofree char *path = dir_path(dir, folder, err);
	int r;

	if (!path)
		return -ENOMEM;
	r = dir->io->ops->sync_dir(dir->io, path, NULL);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return dir_fail(dir, r, "make durable", folder, err);
	return 0;
}

/* "packs": itself and all below. "packs/xx": that one, and its name. */
static int dir_settle(struct backend *backend, const char *folder,
		      struct err *err)
{
	struct dir_backend *dir = dir_of(backend);
	char sub[DIR_NAME_MAX];
	bool found[DIR_SUBFOLDER];
	int r;

	if (strncmp(folder, DIR_PACKS "/", strlen(DIR_PACKS "/")) == 0) {
		r = sync_folder(dir, DIR_PACKS, err);
		if (r < 0)
			return r;
	}
	r = sync_folder(dir, folder, err);
	if (r < 0 || strcmp(folder, DIR_PACKS) != 0)
		return r;
	r = dir_subfolders(dir, found, err);
	if (r == -ENOENT)
		return 0;
	for (unsigned n = 0; n < DIR_SUBFOLDER && r == 0; n++) {
		if (!found[n])
			continue;
		snprintf(sub, sizeof(sub), DIR_PACKS "/%02x", n);
		r = sync_folder(dir, sub, err);
	}
	return r;
}

/* ---- open, close ---- */

static void dir_close(struct backend *backend)
{
	struct dir_backend *dir = dir_of(backend);

	dir_handle_close_all(dir);
	dir_forget_temporaries(dir);
	pthread_mutex_destroy(&dir->handles_lock);
	pthread_mutex_destroy(&dir->folders_lock);
	free(dir->path);
	free(dir->shown);
	free(dir);
}

static const struct backend_ops dir_ops = {
	.create = dir_create,
	.put_begin = dir_put_begin,
	.put_write = dir_put_write,
	.put_finish = dir_put_finish,
	.put_abort = dir_put_abort,
	.get = dir_get,
	.get_once = dir_get_once,
	.size = dir_size,
	.list = dir_list,
	.stamp = dir_stamp,
	.delete = dir_delete,
	.settle = dir_settle,
	.close = dir_close,
};

int backend_open_dir(struct backend **out, struct vs_io *io, const char *path,
		     struct err *err)
{
	size_t size = strlen(path);
	struct dir_backend *dir = NULL;
	char shown[256];
	int r;

	if (size == 0)
		return err_set(err, -EINVAL, "the store's path is empty");
	while (size > 1 && path[size - 1] == '/')
		size--;
	r = alloc_array(&dir, 1, sizeof(*dir), err);
	if (r < 0)
		return r;
	dir->base.ops = &dir_ops;
	dir->base.single_thread = io->single_thread;
	dir->io = io;
	pthread_mutex_init(&dir->handles_lock, NULL);
	pthread_mutex_init(&dir->folders_lock, NULL);
	dir->path = strndup(path, size);
	dir->shown = strdup(
		escape_name(shown, sizeof(shown), dir->path ? dir->path : ""));
	if (!dir->path || !dir->shown) {
		dir_close(&dir->base);
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	*out = &dir->base;
	return 0;
}
