/* SPDX-License-Identifier: Apache-2.0 */
/* What is backed up: a raw file, a block device, a stream, or an image of ours.
 * Private. */
#ifndef VMSNAP_SOURCE_H
#define VMSNAP_SOURCE_H

#include "vmsnap/engine.h"

struct source {
	struct vs_io *io;
	int file;              /* a stream: the plain descriptor */
	struct vms_live *live; /* an image: read by its map; else NULL */
	bool is_stream;
	bool is_device;
	uint64_t size_bytes; /* what is backed up */
	uint64_t stream_at;
	const char *location;                /* the caller's */
	const struct vms_progress *progress; /* may be NULL: who says stop */
};

/* -ENOENT, -EISDIR, -EINVAL (FIFO, character device), words say what to do. A mounted
 * device is told to `warn` (may be NULL). */
int source_open(struct source *source, struct vs_io *io,
		const struct vms_source *from,
		void (*warn)(void *arg, const char *text), void *warn_arg,
		struct err *err);
/* A file called *.vsi. The content is not asked: a guest writes that of a raw
 * disk, and so could choose what the host opens. */
bool source_names_image(struct vs_io *io, const struct vms_source *from);
/* As it stands, without a change to it. -EBUSY: somebody writes to it. */
int source_open_image(struct source *source, struct vms *vms,
		      const struct vms_source *from, struct err *err);
void source_close(struct source *source);

/* The next data extent at or after `offset`: [*start, *end), *start == size
 * when there is none. Any thread. */
int source_next_data(struct source *source, uint64_t offset, uint64_t *start,
		     uint64_t *end, struct err *err);

/* Streams: the next `length` bytes. -EIO early end, -ECANCELED when it shall
 * stop, also while nothing comes. One thread at a time. */
int source_stream_read(struct source *source, void *buffer, size_t length,
		       struct err *err);

/*
 * After a read of [offset, offset + length) failed or was short: read it again
 * piece by piece. Pieces that give EIO become zeros and are added to *bad when
 * `skip`; otherwise -EIO names the offset.
 */
int source_read_carefully(struct source *source, void *buffer, size_t length,
			  uint64_t offset, bool skip, struct vms_ranges *bad,
			  struct err *err);

/* Once all is read: did it shrink or grow meanwhile? Shrunk is -EIO, grown is
 * told to `warn`; a stream that goes on is -EFBIG. */
int source_finish(struct source *source,
		  void (*warn)(void *arg, const char *text), void *warn_arg,
		  struct err *err);

#endif
