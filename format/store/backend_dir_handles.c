/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files of the directory backend: the last ones used stay open, so that
 * a restore pays for one open() a pack and not for one a read. The number is
 * bounded; when all are in use a read opens a file of its own. A symbolic link
 * is not followed, and what is no regular file is not read.
 */
#include <errno.h>
#include <string.h>

#include <xxhash.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

static struct dir_handle *find(struct dir_backend *dir, const char *name,
			       bool direct, uint64_t hash)
{
	for (unsigned n = 0; n < DIR_HANDLES; n++) {
		struct dir_handle *handle = &dir->handles[n];

		if (handle->hash == hash && handle->direct == direct &&
		    !handle->doomed && strcmp(handle->name, name) == 0)
			return handle;
	}
	return NULL;
}

/* A free place, or the one that was not used for longest; NULL: all in use. */
static struct dir_handle *find_room(struct dir_backend *dir)
{
	struct dir_handle *oldest = NULL;

	for (unsigned n = 0; n < DIR_HANDLES; n++) {
		struct dir_handle *handle = &dir->handles[n];

		if (handle->name[0] == '\0')
			return handle;
		if (handle->users == 0 &&
		    (!oldest || handle->last_used < oldest->last_used))
			oldest = handle;
	}
	return oldest;
}

static int open_file(struct dir_backend *dir, const char *name, bool direct,
		     int *out, uint64_t *size_bytes, struct err *err)
{
	autofree char *path = dir_path(dir, name, err);
	struct io_stat st;
	int file, r;

	if (!path)
		return -ENOMEM;
	file = dir->io->ops->open(
		dir->io, path,
		IO_READ_ONLY | IO_NO_FOLLOW | (direct ? IO_DIRECT : 0), NULL);
	if (file == -ENOENT)
		return err_set(err, -ENOENT, "'%s' has no '%s'", dir->shown,
			       name);
	if (file == -ELOOP)
		return err_set(err, -ELOOP,
			       "'%s/%s' is a symbolic link: a store has none",
			       dir->shown, name);
	if (file < 0)
		return dir_fail(dir, file, "open", name, err);
	r = dir->io->ops->fstat(dir->io, file, &st, NULL);
	if (r < 0)
		dir_fail(dir, r, "look at", name, err);
	else if (st.kind != IO_KIND_FILE)
		r = err_set(err, -EBADMSG, "'%s/%s' is not a regular file",
			    dir->shown, name);
	if (r < 0) {
		dir->io->ops->close(dir->io, file);
		return r;
	}
	*out = file;
	*size_bytes = st.size_bytes;
	return 0;
}

/* Puts an open file into a place of the cache; false: there is none. The file
 * that was pushed out is left in *pushed_out (else -1). */
static struct dir_handle *insert(struct dir_backend *dir,
				 const struct dir_handle *made, int *pushed_out)
{
	struct dir_handle *handle = find_room(dir);

	if (!handle)
		return NULL;
	if (handle->name[0])
		*pushed_out = handle->file;
	*handle = *made;
	handle->users = 1;
	handle->last_used = ++dir->clock;
	return handle;
}

int dir_handle_get(struct dir_backend *dir, const char *name, bool direct,
		   struct dir_handle **out, struct dir_handle *spare,
		   struct err *err)
{
	uint64_t hash = XXH3_64bits(name, strlen(name));
	struct dir_handle *handle;
	int r, pushed_out = -1;

	pthread_mutex_lock(&dir->handles_lock);
	handle = find(dir, name, direct, hash);
	if (handle) {
		handle->users++;
		handle->last_used = ++dir->clock;
	}
	pthread_mutex_unlock(&dir->handles_lock);
	if (handle) {
		*out = handle;
		return 0;
	}

	memset(spare, 0, sizeof(*spare));
	if (strlen(name) >= sizeof(spare->name))
		return err_set(err, -EINVAL, "'%s' is no object's name", name);
	r = open_file(dir, name, direct, &spare->file, &spare->size_bytes, err);
	if (r < 0)
		return r;
	memcpy(spare->name, name, strlen(name) + 1);
	spare->hash = hash;
	spare->direct = direct;

	pthread_mutex_lock(&dir->handles_lock);
	/* Another thread may have opened it too; then ours stays a spare. */
	handle = find(dir, name, direct, hash)
			 ? NULL
			 : insert(dir, spare, &pushed_out);
	pthread_mutex_unlock(&dir->handles_lock);
	if (pushed_out >= 0)
		dir->io->ops->close(dir->io, pushed_out);
	*out = handle ? handle : spare;
	return 0;
}

static bool is_cached(const struct dir_backend *dir,
		      const struct dir_handle *handle)
{
	return handle >= dir->handles && handle < dir->handles + DIR_HANDLES;
}

/* Free the place; returns the file to be closed. */
static int vacate(struct dir_handle *handle)
{
	int file = handle->file;

	memset(handle, 0, sizeof(*handle));
	return file;
}

void dir_handle_put(struct dir_backend *dir, struct dir_handle *handle)
{
	int file = -1;

	if (!is_cached(dir, handle)) {
		file = handle->file;
	} else {
		pthread_mutex_lock(&dir->handles_lock);
		handle->users--;
		if (handle->users == 0 && handle->doomed)
			file = vacate(handle);
		pthread_mutex_unlock(&dir->handles_lock);
	}
	if (file >= 0)
		dir->io->ops->close(dir->io, file);
}

static void drop(struct dir_backend *dir, const char *name, bool direct)
{
	struct dir_handle *handle;
	int file = -1;

	pthread_mutex_lock(&dir->handles_lock);
	handle = find(dir, name, direct, XXH3_64bits(name, strlen(name)));
	if (handle && handle->users == 0)
		file = vacate(handle);
	else if (handle)
		handle->doomed = true;
	pthread_mutex_unlock(&dir->handles_lock);
	if (file >= 0)
		dir->io->ops->close(dir->io, file);
}

void dir_handle_drop(struct dir_backend *dir, const char *name)
{
	drop(dir, name, false);
	drop(dir, name, true);
}

void dir_handle_close_all(struct dir_backend *dir)
{
	for (unsigned n = 0; n < DIR_HANDLES; n++) {
		if (dir->handles[n].name[0])
			dir->io->ops->close(dir->io, vacate(&dir->handles[n]));
	}
}
