/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of views. An image makes new layers beside itself, so its folder is
 * shown, with whatever else is in there; what is only read is shown so.
 */
#include "kvm-agent/shown.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Its own until the end. */
static const char *keep(struct shown *shown, const char *path, struct err *err)
{
	char *copy = NULL;

	if (shown->path_count == ARRAY_SIZE(shown->paths))
		err_set(err, -E2BIG, "too many files for one machine");
	else if (!(copy = strdup(path)))
		err_set(err, -ENOMEM, "out of memory");
	else
		shown->paths[shown->path_count++] = copy;
	return copy;
}

int shown_add(struct shown *shown, const char *path, bool write,
	      struct err *err)
{
	struct sandbox_options *options = &shown->options;
	const char *kept;

	for (unsigned i = 0; i < options->view_count; i++) {
		if (strcmp(options->views[i].path, path) != 0)
			continue;
		options->views[i].write |= write;
		return 0;
	}
	if (options->view_count == SANDBOX_VIEWS_MAX)
		return err_set(err, -E2BIG, "too many files for one machine");
	kept = keep(shown, path, err);
	if (!kept)
		return -ENOMEM;
	options->views[options->view_count++] =
		(struct sandbox_view){ kept, write };
	return 0;
}

int shown_begin(struct shown *shown, struct err *err)
{
	return shown_add(shown, "/dev/kvm", true, err);
}

int shown_add_disk(struct shown *shown, const char **path, enum disk_use use,
		   struct err *err)
{
	char found[PATH_MAX], quoted[256], *slash;

	if (!realpath(*path, found)) {
		/* Whoever opens it says so. */
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		/* -EACCES is KVM's, for the exit status. */
		return err_sys(err, errno == EACCES ? -EPERM : -errno,
			       "open '%s'",
			       escape_name(quoted, sizeof(quoted), *path));
	}
	*path = keep(shown, found, err);
	if (!*path)
		return -ENOMEM;
	if (disk_is_image(found)) {
		slash = strrchr(found, '/');
		*(slash > found ? slash : found + 1) = 0;
	}
	return shown_add(shown, found, use == DISK_IN_PLACE, err);
}

int shown_add_machine(struct shown *shown, const char *directory,
		      struct err *err)
{
	static const char *const kept[] = { "machine.json", "lock", "agent.pid",
					    "agent.start", "user" };
	char path[PATH_MAX];
	int r = shown_add(shown, directory, true, err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kept); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", directory, kept[i]) >=
		    (int)sizeof(path))
			return err_set(err, -ENAMETOOLONG, "'%s': too long",
				       directory);
		r = shown_add(shown, path, false, err);
	}
	return r;
}

void shown_release(struct shown *shown)
{
	while (shown->path_count)
		free(shown->paths[--shown->path_count]);
	*shown = (struct shown){ 0 };
}
