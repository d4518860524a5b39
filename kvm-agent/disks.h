/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a machine by their files' names: images (*.vsi), and raw files
 * and block devices. Opened for the board, closed after it. */
#ifndef KVM_AGENT_DISKS_H
#define KVM_AGENT_DISKS_H

#include "kvm-agent/board.h"

struct keeper_client;

struct disks {
	struct vs_io *io;
	/* For images that stand on a snapshot; NULL: there is none. */
	struct keeper_client *keeper;
	/* Where throw-away layers are made; NULL: in TMPDIR or /var/tmp. */
	const char *folder;
	struct disk *disks[BOARD_DISKS_MAX];
	struct image *images[BOARD_DISKS_MAX]; /* NULL: raw */
	unsigned count;
};

enum disk_use {
	DISK_IN_PLACE,
	DISK_READ_ONLY,
	DISK_TEMPORARY, /* what the guest writes ends with this process */
	DISK_NBD,       /* the same, over sockets to an NBD server */
};

/* TMPDIR, or /var/tmp. */
const char *disks_temporary_folder(void);

/* By its name: an image, whose files lie beside it and more are made there. */
bool disk_is_image(const char *path);

/* -EOPNOTSUPP: an image over a base, and no keeper. -EBADMSG: an image is
 * damaged. The errors of image_open(), keeper_client_base(), disk_raw_new() and
 * temporary_open(). A name tells what it is, never the content: that is the
 * guest's to write. DISK_NBD: `path` is descriptors of connected sockets with
 * commas in between, taken over. */
int disks_open(struct disks *disks, const char *path, enum disk_use use,
	       struct err *err);
/* After the board. An image is flushed; the first failure is the result. */
int disks_close(struct disks *disks, struct err *err);

#endif
