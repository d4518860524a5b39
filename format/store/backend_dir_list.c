/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing the directory backend, as the names come: a folder may hold very
 * many, and whoever wants them in order sorts them. Names that can't be ours
 * (temporaries, a file manager's litter) are left out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

/* File systems date a change by a clock that steps, at worst this often. */
#define STAMP_STEP_NS 20000000

struct listing {
	struct dir_backend *dir;
	const char *folder;
	const char *prefix; /* only leaves that begin with it, "" for all */
	size_t prefix_size;
	backend_list_fn *fn;
	void *arg;
	struct err *err;
	bool stopped; /* by fn, whose words stand in err */
};

bool dir_could_be_ours(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < DIR_NAME_MAX &&
	       strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-") == size;
}

static int tell(void *arg, const char *name)
{
	struct listing *listing = arg;
	int r;

	if (dir_is_temporary(name))
		dir_note_temporary(listing->dir, listing->folder, name);
	if (strncmp(name, listing->prefix, listing->prefix_size) != 0 ||
	    !dir_could_be_ours(name))
		return 0;
	r = listing->fn(listing->arg, name, listing->err);
	listing->stopped = r != 0;
	return r;
}

static int list_folder(struct dir_backend *dir, const char *folder,
		       const char *prefix, backend_list_fn *fn, void *arg,
		       struct err *err)
{
	autofree char *path = dir_path(dir, folder, err);
	struct listing listing = { dir, folder, prefix, strlen(prefix),
				   fn,  arg,    err,    false };
	int r;

	if (!path)
		return -ENOMEM;
	r = dir->io->ops->list(dir->io, path, tell, &listing, NULL);
	if (r >= 0 || listing.stopped)
		return r;
	/* A file among the sub-folders is somebody's litter. */
	if (r == -ENOENT || (r == -ENOTDIR && prefix[0]))
		return 0;
	return dir_fail(dir, r, "list", folder, err);
}

static int note_subfolder(void *arg, const char *name)
{
	bool *found = arg;
	int at = dir_subfolder(name);

	if (at >= 0)
		found[at] = true;
	return 0;
}

int dir_subfolders(struct dir_backend *dir, bool found[DIR_SUBFOLDER],
		   struct err *err)
{
	autofree char *path = dir_path(dir, DIR_PACKS, err);
	int r;

	memset(found, 0, DIR_SUBFOLDER * sizeof(*found));
	if (!path)
		return -ENOMEM;
	r = dir->io->ops->list(dir->io, path, note_subfolder, found, NULL);
	return r < 0 ? dir_fail(dir, r, "list", DIR_PACKS, err) : 0;
}

static int list_packs(struct dir_backend *dir, backend_list_fn *fn, void *arg,
		      struct err *err)
{
	char folder[DIR_NAME_MAX], two[3];
	bool found[DIR_SUBFOLDER];
	struct err why;
	int r = dir_subfolders(dir, found, &why);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(err, r, "%s", why.text);
	for (unsigned n = 0; n < DIR_SUBFOLDER && r == 0; n++) {
		if (!found[n])
			continue;
		snprintf(two, sizeof(two), "%02x", n);
		snprintf(folder, sizeof(folder), DIR_PACKS "/%s", two);
		r = list_folder(dir, folder, two, fn, arg, err);
	}
	return r;
}

int dir_list(struct backend *backend, const char *folder, backend_list_fn *fn,
	     void *arg, struct err *err)
{
	struct dir_backend *dir = dir_of(backend);

	if (strcmp(folder, DIR_PACKS) == 0)
		return list_packs(dir, fn, arg, err);
	return list_folder(dir, folder, "", fn, arg, err);
}

/* The time of its last change, unless that is so fresh that the next one may
 * get the same. Opened, because a network file system then asks its server. */
uint64_t dir_stamp(struct backend *backend, const char *folder)
{
	struct dir_backend *dir = dir_of(backend);
	autofree char *path = dir_path(dir, folder, NULL);
	const struct vs_io_ops *ops = dir->io->ops;
	struct io_stat st;
	int64_t now;
	int file, r;

	if (!path)
		return 0;
	file = ops->open(dir->io, path, IO_READ_ONLY, NULL);
	if (file < 0)
		return 0;
	r = ops->fstat(dir->io, file, &st, NULL);
	now = time_now_ns();
	ops->close(dir->io, file);
	if (r < 0 || st.modified_ns <= 0 || now <= st.modified_ns ||
	    now - st.modified_ns < STAMP_STEP_NS)
		return 0;
	return (uint64_t)st.modified_ns;
}
