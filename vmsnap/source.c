/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources of a backup. A file or device is read at offsets through vs_io; a
 * stream is a plain descriptor read in order. What a source holds is hostile
 * only in content; what it does (shrink, grow, fail) is told, never guessed
 * around.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/source.h"

#define STOP_CHECK_MS 200
#define CAREFUL_BYTES 4096u /* what one bad sector costs */

static int source_open_stream(struct source *source,
			      const struct vms_source *from, struct err *err)
{
	if (!from->size_bytes)
		return err_set(
			err, -EINVAL,
			"standard input has no size: give it with --size");
	source->is_stream = true;
	source->file = STDIN_FILENO;
	source->size_bytes = from->size_bytes;
	if (fcntl(source->file, F_GETFD) < 0)
		return err_sys(err, -errno, "standard input");
	return 0;
}

static int source_kind_check(struct source *source, const struct io_stat *st,
			     struct err *err)
{
	switch (st->kind) {
	case IO_KIND_FILE:
		return 0;
	case IO_KIND_BLOCK:
		source->is_device = true;
		return 0;
	case IO_KIND_DIRECTORY:
		return err_set(
			err, -EISDIR,
			"source '%s' is a directory; give a disk: a raw file or a block device",
			source->location);
	case IO_KIND_OTHER:
		break;
	}
	return err_set(
		err, -EINVAL,
		"source '%s' is a pipe or a character device; give '-' and --size to read a stream",
		source->location);
}

/* Mounted where we can't see it, or in use by something that is no mount. */
static void source_warn_claimed(const struct source *source,
				void (*warn)(void *arg, const char *text),
				void *warn_arg)
{
	const struct vs_io_ops *ops = source->io->ops;
	char text[PATH_MAX];
	int file = ops->open(source->io, source->location,
			     IO_READ_ONLY | IO_CLAIM, NULL);

	if (file >= 0)
		ops->close(source->io, file);
	if (file != -EBUSY)
		return;
	snprintf(
		text, sizeof(text),
		"'%.1000s' is in use (mounted elsewhere, or part of a volume group or a RAID): what is written meanwhile makes the copy inconsistent",
		source->location);
	warn(warn_arg, text);
}

static void source_warn_mounted(const struct source *source,
				void (*warn)(void *arg, const char *text),
				void *warn_arg)
{
	char where[PATH_MAX], text[PATH_MAX + 256];

	if (!warn || !source->is_device)
		return;
	if (!device_is_mounted(source->location, where, sizeof(where))) {
		source_warn_claimed(source, warn, warn_arg);
		return;
	}
	snprintf(
		text, sizeof(text),
		"'%.1000s' is mounted at '%.1000s': what is written meanwhile makes the copy inconsistent; unmount it or freeze it (fsfreeze)",
		source->location, where);
	warn(warn_arg, text);
}

int source_open(struct source *source, struct vs_io *io,
		const struct vms_source *from,
		void (*warn)(void *arg, const char *text), void *warn_arg,
		struct err *err)
{
	struct io_stat st;
	int r;

	memset(source, 0, sizeof(*source));
	source->io = io;
	source->file = -1;
	source->location = from->location;
	if (!strcmp(from->location, "-"))
		return source_open_stream(source, from, err);

	/* Look before opening: opening a FIFO would wait for a writer. */
	r = io->ops->stat(io, from->location, &st, err);
	if (!r)
		r = source_kind_check(source, &st, err);
	if (r)
		return r;
	source->file = io->ops->open(io, from->location, IO_READ_ONLY, err);
	if (source->file < 0)
		return source->file;
	r = io->ops->fstat(io, source->file, &st, err);
	if (!r && st.size_bytes > VOLUME_SIZE_MAX)
		r = err_set(err, -EFBIG, "source '%s' is larger than 64 TiB",
			    from->location);
	if (r) {
		source_close(source);
		return r;
	}
	source->size_bytes = st.size_bytes;
	source_warn_mounted(source, warn, warn_arg);
	return 0;
}

bool source_names_image(struct vs_io *io, const struct vms_source *from)
{
	size_t length = strlen(from->location);
	struct io_stat st;

	return length > 4 && !strcmp(from->location + length - 4, ".vsi") &&
	       io->ops->stat(io, from->location, &st, NULL) == 0 &&
	       st.kind == IO_KIND_FILE;
}

int source_open_image(struct source *source, struct vms *vms,
		      const struct vms_source *from, struct err *err)
{
	struct vms_live_options options = {
		.io = vms->io,
		.path = from->location,
		.mode = IMAGE_READ_ONLY,
		.vms = from->base_store ? from->base_store : vms,
	};
	int r;

	memset(source, 0, sizeof(*source));
	source->io = vms->io;
	source->file = -1;
	source->location = from->location;
	r = vms_live_open(&source->live, &options, err);
	if (!r)
		source->size_bytes = image_size(vms_live_image(source->live));
	return r;
}

void source_close(struct source *source)
{
	(void)vms_live_close(source->live, NULL); /* read only: no news */
	source->live = NULL;
	if (!source->is_stream && source->file >= 0)
		source->io->ops->close(source->io, source->file);
	source->file = -1;
}

int source_next_data(struct source *source, uint64_t offset, uint64_t *start,
		     uint64_t *end, struct err *err)
{
	uint64_t from = offset, to = source->size_bytes;
	int r = 0;

	if (!source->is_stream && offset < source->size_bytes)
		r = source->io->ops->seek_data(source->io, source->file, offset,
					       &from, &to);
	if (r == -ENXIO)
		from = to = source->size_bytes;
	else if (r)
		return err_sys(err, r, "source '%s': looking for data at %llu",
			       source->location, (unsigned long long)offset);
	*start = min_u64(max_u64(from, offset), source->size_bytes);
	*end = min_u64(to, source->size_bytes);
	return 0;
}

/* Until there is something to read, or the end, or -ECANCELED: a signal that
 * asks to stop goes to another thread and interrupts no read here. */
static int stream_wait(struct source *source, struct err *err)
{
	struct pollfd input = { .fd = source->file, .events = POLLIN };
	int r;

	do
		r = progress_check(source->progress, err);
	while (r == 0 && poll(&input, 1, STOP_CHECK_MS) == 0);
	return r;
}

int source_stream_read(struct source *source, void *buffer, size_t length,
		       struct err *err)
{
	size_t got = 0;

	while (got < length) {
		int r = stream_wait(source, err);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(source->file, (char *)buffer + got, length - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(
				err, -errno, "standard input at offset %llu",
				(unsigned long long)(source->stream_at + got));
		if (n == 0)
			return err_set(
				err, -EIO,
				"standard input ended at offset %llu of %llu: give the right --size",
				(unsigned long long)(source->stream_at + got),
				(unsigned long long)source->size_bytes);
		got += (size_t)n;
	}
	source->stream_at += length;
	return 0;
}

int source_read_carefully(struct source *source, void *buffer, size_t length,
			  uint64_t offset, bool skip, struct vms_ranges *bad,
			  struct err *err)
{
	for (size_t done = 0; done < length;) {
		size_t piece = (size_t)min_u64(CAREFUL_BYTES, length - done);
		uint64_t at = offset + done;
		int r = io_read_full(source->io, source->file,
				     (char *)buffer + done, piece, at);

		if (r == -ENODATA)
			return err_set(
				err, -EIO,
				"source '%s' became shorter while it was read: it ended before offset %llu of %llu; run again",
				source->location,
				(unsigned long long)(at + piece),
				(unsigned long long)source->size_bytes);
		if (r && (!skip || r != -EIO))
			return err_sys(
				err, r, "source '%s': reading at offset %llu%s",
				source->location, (unsigned long long)at,
				r == -EIO
					? " (--skip-bad-blocks stores zeros there)"
					: "");
		if (r) {
			memset((char *)buffer + done, 0, piece);
			r = ranges_add(bad, at, piece, err);
			if (r)
				return r;
		}
		done += piece;
	}
	return 0;
}

static int stream_finish(struct source *source, struct err *err)
{
	char byte;
	ssize_t n;
	int r = stream_wait(source, err);

	if (r < 0)
		return r;
	do
		n = read(source->file, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return err_set(
			err, -EFBIG,
			"standard input goes on after %llu bytes: give the right --size",
			(unsigned long long)source->size_bytes);
	return 0;
}

int source_finish(struct source *source,
		  void (*warn)(void *arg, const char *text), void *warn_arg,
		  struct err *err)
{
	struct io_stat st;
	char text[1400];
	int r;

	if (source->is_stream)
		return stream_finish(source, err);
	r = source->io->ops->fstat(source->io, source->file, &st, err);
	if (r)
		return r;
	if (st.size_bytes < source->size_bytes)
		return err_set(
			err, -EIO,
			"source '%s' shrank from %llu to %llu bytes while it was read; run again",
			source->location,
			(unsigned long long)source->size_bytes,
			(unsigned long long)st.size_bytes);
	if (st.size_bytes > source->size_bytes && warn) {
		snprintf(
			text, sizeof(text),
			"source '%.1000s' grew from %llu to %llu bytes while it was read: the snapshot has the first %llu",
			source->location,
			(unsigned long long)source->size_bytes,
			(unsigned long long)st.size_bytes,
			(unsigned long long)source->size_bytes);
		warn(warn_arg, text);
	}
	return 0;
}
