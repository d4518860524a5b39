/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a writer that died has left in a store on a file system that can't hide
 * files without a name (base/io_unnamed.c): `.tmp-` and 32 hex digits. They are
 * noted where a folder is listed anyway, and removed behind the next put: a
 * reader removes nothing. One that changed within a day may be somebody's who
 * is at work; who sleeps for longer finds that his can't be linked, and fails.
 */
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/backend_dir_private.h"

#define TEMPORARY     ".tmp-"
#define RANDOM_DIGITS 32u
#define ABANDONED_NS  (24LL * 3600 * 1000000000)

bool dir_is_temporary(const char *name)
{
	return strncmp(name, TEMPORARY, strlen(TEMPORARY)) == 0;
}

void dir_note_temporary(struct dir_backend *dir, const char *folder,
			const char *name)
{
	const char *digits = name + strlen(TEMPORARY);
	char *full = NULL;

	if (strlen(digits) != RANDOM_DIGITS ||
	    strspn(digits, "0123456789abcdef") != RANDOM_DIGITS)
		return;
	pthread_mutex_lock(&dir->folders_lock);
	if (dir->temporary_count < ARRAY_SIZE(dir->temporaries) &&
	    asprintf(&full, "%s/%s", folder, name) >= 0)
		dir->temporaries[dir->temporary_count++] = full;
	pthread_mutex_unlock(&dir->folders_lock);
}

static void sweep(struct dir_backend *dir, const char *name)
{
	autofree char *path = dir_path(dir, name, NULL);
	const struct vs_io_ops *ops = dir->io->ops;
	struct io_stat st;

	if (path && ops->stat(dir->io, path, &st, NULL) >= 0 &&
	    st.kind == IO_KIND_FILE &&
	    time_now_ns() - st.modified_ns > ABANDONED_NS)
		(void)ops->unlink(dir->io, path, NULL);
}

/* The next of those noted, the caller's to free; NULL: none. */
static char *take(struct dir_backend *dir)
{
	char *name = NULL;

	pthread_mutex_lock(&dir->folders_lock);
	if (dir->temporary_count)
		name = dir->temporaries[--dir->temporary_count];
	pthread_mutex_unlock(&dir->folders_lock);
	return name;
}

void dir_sweep(struct dir_backend *dir)
{
	char *name;

	while ((name = take(dir))) {
		sweep(dir, name);
		free(name);
	}
}

void dir_forget_temporaries(struct dir_backend *dir)
{
	char *name;

	while ((name = take(dir)))
		free(name);
}
