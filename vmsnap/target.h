/* SPDX-License-Identifier: Apache-2.0 */
/* Where a restore goes: a file (by way of TARGET.vmsnap-partial), a block
 * device, or standard output. Private. */
#ifndef VMSNAP_TARGET_H
#define VMSNAP_TARGET_H

#include "vmsnap/engine.h"

enum target_kind {
	TARGET_FILE,
	TARGET_DEVICE,
	TARGET_STREAM,
};

struct target {
	struct vs_io *io;
	enum target_kind kind;
	int file;     /* a stream: the plain descriptor */
	int replaced; /* the old file of that name, so that nobody writes it */
	int head;     /* of the image that it is a layer of, likewise */
	char *path;
	char *partial; /* a file: where it is written until it is whole */
	bool is_fresh; /* nothing in it: holes need no work */
	uint64_t size_bytes;
};

/* -EEXIST, -EBUSY, -EISDIR, -ENOSPC (a device too small); see vms_restore(). */
int target_open(struct target *target, struct vs_io *io,
		const struct vms_restore *restore, uint64_t size_bytes,
		struct err *err);
/* All is written: size set, durable, and under its name. */
int target_finish(struct target *target, struct err *err);
/* Closes. A partial file stays: --delta goes on with it. */
void target_close(struct target *target);

#endif
