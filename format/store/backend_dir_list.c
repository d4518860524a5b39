/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing the directory backend. Names are gathered and sorted before anybody
 * is told, so that the order is always the same and the callee may change the
 * folder. Names that can't be ours (temporaries, a file manager's litter) are
 * left out.
 */
#include <errno.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

struct gather {
	char **names;
	size_t count, capacity;
};

static bool could_be_ours(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < DIR_NAME_MAX &&
	       strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-") == size;
}

static int gather_name(void *arg, const char *name)
{
	struct gather *gather = arg;
	char *copy;

	if (!could_be_ours(name))
		return 0;
	if (gather->count == gather->capacity) {
		size_t more = gather->capacity ? 2 * gather->capacity : 64;
		char **grown =
			reallocarray(gather->names, more, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		gather->names = grown;
		gather->capacity = more;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	gather->names[gather->count++] = copy;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void dir_names_free(char **names, size_t count)
{
	for (size_t n = 0; n < count; n++)
		free(names[n]);
	free(names);
}

int dir_names(struct dir_backend *dir, const char *folder, char ***names,
	      size_t *count, struct err *err)
{
	autofree char *path = dir_path(dir, folder, err);
	struct gather gather = { 0 };
	int r;

	if (!path)
		return -ENOMEM;
	r = dir->io->ops->list(dir->io, path, gather_name, &gather, NULL);
	if (r < 0) {
		dir_names_free(gather.names, gather.count);
		return dir_fail(dir, r, "list", folder, err);
	}
	if (gather.count)
		qsort(gather.names, gather.count, sizeof(char *), compare);
	*names = gather.names;
	*count = gather.count;
	return 0;
}

/* `prefix`: only leaves that begin with it, "" for all. */
static int list_folder(struct dir_backend *dir, const char *folder,
		       const char *prefix, backend_list_fn *fn, void *arg,
		       struct err *err)
{
	char **names = NULL;
	size_t count = 0;
	struct err why;
	int r;

	r = dir_names(dir, folder, &names, &count, &why);
	/* A file among the sub-folders is somebody's litter. */
	if (r == -ENOENT || (r == -ENOTDIR && prefix[0]))
		return 0;
	if (r < 0)
		return err_set(err, r, "%s", why.text);
	for (size_t n = 0; n < count && r == 0; n++) {
		if (strncmp(names[n], prefix, strlen(prefix)) == 0)
			r = fn(arg, names[n], err);
	}
	dir_names_free(names, count);
	return r;
}

static int list_packs(struct dir_backend *dir, backend_list_fn *fn, void *arg,
		      struct err *err)
{
	char folder[] = DIR_PACKS "/xx";
	char **names = NULL;
	size_t count = 0;
	struct err why;
	int r;

	r = dir_names(dir, DIR_PACKS, &names, &count, &why);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(err, r, "%s", why.text);
	for (size_t n = 0; n < count && r == 0; n++) {
		if (dir_subfolder(names[n]) < 0)
			continue;
		memcpy(folder + strlen(DIR_PACKS "/"), names[n], 2);
		r = list_folder(dir, folder, names[n], fn, arg, err);
	}
	dir_names_free(names, count);
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
