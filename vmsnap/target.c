/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets of a restore. A file is never half-written under its own name: a new
 * one is made as TARGET.vmsnap-partial, and one that --delta updates in place
 * is renamed to that first. So whoever finds TARGET finds a whole disk, and a
 * broken-off restore goes on from the partial.
 *
 * After a sync that failed the partial goes: the kernel then takes what it
 * could not write for clean, so it reads well, --delta would keep it, and no
 * later sync would bring it to the disk.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/target.h"

#define PARTIAL_SUFFIX ".vmsnap-partial"

static int parent_sync(struct target *target, struct err *err)
{
	char directory[PATH_MAX];
	char *slash;

	snprintf(directory, sizeof(directory), "%s", target->path);
	slash = strrchr(directory, '/');
	if (!slash)
		snprintf(directory, sizeof(directory), ".");
	else if (slash == directory)
		slash[1] = '\0';
	else
		*slash = '\0';
	return target->io->ops->sync_dir(target->io, directory, err);
}

static int open_stream(struct target *target, struct err *err)
{
	if (isatty(STDOUT_FILENO))
		return err_set(
			err, -EINVAL,
			"standard output is a terminal; send it to a pipe or a file");
	target->kind = TARGET_STREAM;
	target->file = STDOUT_FILENO;
	target->is_fresh = true;
	return 0;
}

static int open_device(struct target *target, const struct vms_restore *restore,
		       const struct io_stat *st, struct err *err)
{
	char where[PATH_MAX];

	if (!restore->force)
		return err_set(err, -EEXIST,
			       "'%s' is a block device; --force writes over it",
			       target->path);
	if (device_is_mounted(target->path, where, sizeof(where)))
		return err_set(err, -EBUSY,
			       "'%s' is mounted at '%s'; unmount it first",
			       target->path, where);
	if (st->size_bytes < target->size_bytes)
		return err_set(err, -ENOSPC,
			       "'%s' has %llu bytes, the disk needs %llu",
			       target->path, (unsigned long long)st->size_bytes,
			       (unsigned long long)target->size_bytes);
	target->kind = TARGET_DEVICE;
	target->file = target->io->ops->open(target->io, target->path,
					     IO_READ_WRITE | IO_CLAIM, err);
	if (target->file == -EBUSY)
		return err_set(err, -EBUSY,
			       "'%s' is in use: mounted elsewhere, part of a "
			       "volume group or a RAID, swap, or the target of "
			       "another restore",
			       target->path);
	return target->file < 0 ? target->file : 0;
}

static int in_use(const char *path, struct err *err)
{
	return err_set(err, -EBUSY,
		       "'%s' is in use: another restore writes it, or a "
		       "machine runs on it",
		       path);
}

/* Two restores to one target would each put the other's half under its name. */
static int lock_file(struct target *target, const char *path, struct err *err)
{
	int r = target->io->ops->lock(target->io, target->file, true);

	/* Where a file system knows no locks, all is as if there were one. */
	return r != -EBUSY ? 0 : in_use(path, err);
}

/* What an earlier restore has left, unless that one is still at work. */
static int remove_partial(struct target *target, struct err *err)
{
	const struct vs_io_ops *ops = target->io->ops;
	int r;

	target->file = ops->open(target->io, target->partial,
				 IO_READ_WRITE | IO_NO_FOLLOW, err);
	if (target->file < 0)
		return target->file;
	r = lock_file(target, target->partial, err);
	if (!r)
		r = ops->unlink(target->io, target->partial, err);
	ops->close(target->io, target->file);
	target->file = -1;
	return r;
}

/*
 * What is to be replaced may be read by anybody, but a machine that writes to it
 * would go on with a file that has no name any more. Held until the end, so that
 * none begins. Who has no right to read it can't tell, and may replace it.
 */
static int hold(struct target *target, const char *path, int *file,
		struct err *err)
{
	const struct vs_io_ops *ops = target->io->ops;

	*file = ops->open(target->io, path, IO_READ_ONLY | IO_NO_FOLLOW, NULL);
	if (*file >= 0 && ops->lock(target->io, *file, false) == -EBUSY)
		return in_use(target->path, err);
	return 0;
}

/* NAME.vsi.NUMBER: its image's head has the lock of all of its layers. */
static int hold_head(struct target *target, struct err *err)
{
	static const char suffix[] = ".vsi";
	char head[PATH_MAX]; /* the path was held against it */
	char *number;
	size_t length;

	snprintf(head, sizeof(head), "%s", target->path);
	number = strrchr(head, '.');
	if (!number || !number[1] ||
	    number[1 + strspn(number + 1, "0123456789")])
		return 0;
	*number = '\0';
	length = strlen(head);
	if (length < strlen(suffix) ||
	    strcmp(head + length - strlen(suffix), suffix) != 0)
		return 0;
	return hold(target, head, &target->head, err);
}

/* What to write on: the partial of before, the old file, or a new one. */
static int open_file(struct target *target, const struct vms_restore *restore,
		     bool exists, struct err *err)
{
	const struct vs_io_ops *ops = target->io->ops;
	struct io_stat st;
	int flags = IO_READ_WRITE | IO_NO_FOLLOW;
	bool partial = !ops->stat(target->io, target->partial, &st, NULL);
	bool update = restore->delta && !partial && exists;
	int r = 0;

	if (partial && st.kind != IO_KIND_FILE)
		return err_set(err, -EEXIST,
			       "'%s' is in the way and is no file; remove it",
			       target->partial);
	if (exists && !update)
		r = hold(target, target->path, &target->replaced, err);
	if (!r && exists)
		r = hold_head(target, err);
	if (r)
		return r;
	if (!restore->delta && partial) {
		r = remove_partial(target, err);
		if (r)
			return r;
		partial = false;
	}
	target->is_fresh = !partial && !update;
	if (target->is_fresh)
		flags |= IO_CREATE | IO_EXCLUSIVE | IO_DIRECT;
	/* Opened before it is renamed: what can't be written stays in place. */
	target->file =
		ops->open(target->io, update ? target->path : target->partial,
			  flags, err);
	if (target->file < 0)
		return target->file;
	r = lock_file(target, update ? target->path : target->partial, err);
	if (!r && update)
		r = ops->rename(target->io, target->path, target->partial, err);
	if (!r)
		r = parent_sync(target, err);
	if (r)
		return r;
	r = ops->truncate(target->io, target->file, target->size_bytes);
	if (r)
		return err_sys(err, r, "setting the size of '%s' to %llu",
			       target->partial,
			       (unsigned long long)target->size_bytes);
	return 0;
}

static int open_path(struct target *target, const struct vms_restore *restore,
		     struct err *err)
{
	struct io_stat st;
	struct err why = { 0 };
	int r = target->io->ops->stat(target->io, target->path, &st, &why);

	if (r == -ENOENT)
		return open_file(target, restore, false, err);
	if (r) {
		if (err)
			*err = why;
		return r;
	}
	switch (st.kind) {
	case IO_KIND_FILE:
		if (!restore->force && !restore->delta)
			return err_set(
				err, -EEXIST,
				"'%s' exists; --force replaces it, --delta writes only what differs",
				target->path);
		return open_file(target, restore, true, err);
	case IO_KIND_BLOCK:
		return open_device(target, restore, &st, err);
	case IO_KIND_DIRECTORY:
		return err_set(
			err, -EISDIR,
			"'%s' is a directory; give the name of a file in it",
			target->path);
	case IO_KIND_OTHER:
		break;
	}
	return err_set(
		err, -EINVAL,
		"'%s' is a pipe or a character device; '-' writes to standard output",
		target->path);
}

int target_open(struct target *target, struct vs_io *io,
		const struct vms_restore *restore, uint64_t size_bytes,
		struct err *err)
{
	size_t length = strlen(restore->target);
	int r;

	memset(target, 0, sizeof(*target));
	target->io = io;
	target->file = target->replaced = target->head = -1;
	target->size_bytes = size_bytes;
	if (!strcmp(restore->target, "-"))
		return open_stream(target, err);
	if (!length || length + sizeof(PARTIAL_SUFFIX) > PATH_MAX)
		return err_set(err, -ENAMETOOLONG,
			       "'%s' can't be a file's name", restore->target);
	target->path = strdup(restore->target);
	r = alloc_array(&target->partial, length + sizeof(PARTIAL_SUFFIX), 1,
			err);
	if (!target->path && !r)
		r = err_set(err, -ENOMEM, "out of memory");
	if (!r) {
		snprintf(target->partial, length + sizeof(PARTIAL_SUFFIX),
			 "%s" PARTIAL_SUFFIX, target->path);
		r = open_path(target, restore, err);
	}
	if (r)
		target_close(target);
	return r;
}

/* It is not, or no longer, there to go on with. */
static void partial_forget(struct target *target)
{
	free(target->partial);
	target->partial = NULL;
}

static int sync_failed(struct target *target, int r, struct err *err)
{
	if (target->kind != TARGET_FILE)
		return err_sys(
			err, r,
			"making '%s' durable (what it holds can't be trusted now: restore it again without --delta)",
			target->path);
	if (!target->io->ops->unlink(target->io, target->partial, NULL)) {
		parent_sync(target, NULL);
		err_sys(err, r,
			"making '%s' durable (what was written can't be trusted and is removed: restore it again)",
			target->partial);
	} else {
		err_sys(err, r,
			"making '%s' durable (what it holds can't be trusted, nor could it be removed: remove it by hand and restore again)",
			target->partial);
	}
	partial_forget(target);
	return r;
}

int target_finish(struct target *target, struct err *err)
{
	const struct vs_io_ops *ops = target->io->ops;
	int r = 0;

	if (target->kind == TARGET_STREAM)
		return 0;
	/* Direct writes are whole blocks: cut what stands past the end. */
	if (target->kind == TARGET_FILE)
		r = ops->truncate(target->io, target->file, target->size_bytes);
	if (r)
		return err_sys(err, r, "setting the size of '%s' to %llu",
			       target->partial,
			       (unsigned long long)target->size_bytes);
	r = ops->sync(target->io, target->file);
	if (r)
		return sync_failed(target, r, err);
	if (target->kind != TARGET_FILE)
		return 0;
	r = ops->rename(target->io, target->partial, target->path, err);
	if (r)
		return r;
	partial_forget(target);
	return parent_sync(target, err);
}

void target_close(struct target *target)
{
	if (target->kind != TARGET_STREAM && target->file >= 0)
		target->io->ops->close(target->io, target->file);
	if (target->replaced >= 0)
		target->io->ops->close(target->io, target->replaced);
	if (target->head >= 0)
		target->io->ops->close(target->io, target->head);
	target->file = target->replaced = target->head = -1;
	free(target->path);
	free(target->partial);
	target->path = NULL;
	target->partial = NULL;
}
