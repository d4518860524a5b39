/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind a virtio-blk: an image, or a raw file. Asynchronous, for
 * one thread; what completes in which order is as of a disk. A host's error is
 * the request's result, and never becomes a success.
 */
#ifndef KVM_AGENT_VIRTIO_DISK_H
#define KVM_AGENT_VIRTIO_DISK_H

#include "format/base/base.h"
#include "format/base/io.h"
#include "format/image/image.h"

#define DISK_SECTOR 512u

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* all that completed before it is durable */
	DISK_DISCARD, /* no longer needed; may read as zeros */
	DISK_ZERO,    /* reads as zeros, exactly the range */
};

/* The caller's from submit until reap hands it back. */
struct disk_request {
	enum disk_op op;
	uint64_t offset, length; /* multiples of DISK_SECTOR, within the disk */
	void *buffer;            /* read, write */
	bool more;               /* another is submitted right behind it */
	int result;              /* 0 or -errno */
	void *owner;             /* the caller's */
	struct disk_request *next; /* the disk's */
	union {
		struct image_request image;
		struct {
			struct io_request io;
			uint64_t done;
		} raw;
	} work; /* the disk's */
};

struct disk;

struct disk_ops {
	void (*submit)(struct disk *disk, struct disk_request *request);
	/* Waits until `min` of those submitted are done. */
	unsigned (*reap)(struct disk *disk, unsigned min,
			 struct disk_request **done, unsigned max);
	/* Readable when a reap that doesn't wait may give something; -1: all
	 * is done as soon as it is submitted. */
	int (*fd)(struct disk *disk);
	/* Nothing is under way. */
	void (*free)(struct disk *disk);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t size_bytes; /* a multiple of DISK_SECTOR */
	bool read_only;
};

/* The image stays the caller's, and outlives it. */
int disk_image_new(struct disk **out, struct image *image, bool read_only,
		   unsigned depth, struct err *err);
/*
 * A raw file or block device, claimed for this one alone unless it is opened
 * read-only. -EBUSY; -EINVAL: its size is no multiple of a sector.
 */
int disk_raw_new(struct disk **out, struct vs_io *io, const char *path,
		 bool read_only, unsigned depth, struct err *err);
/* NULL is ignored. */
void disk_free(struct disk *disk);

#endif
