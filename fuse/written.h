/* SPDX-License-Identifier: Apache-2.0 */
/* What was written to one mounted disk: a layer that is thrown away when the
 * mount ends. All from any thread; 0 or -errno. */
#ifndef FUSE_WRITTEN_H
#define FUSE_WRITTEN_H

#include "vmsnap/vmsnap.h"

struct written;

int written_new(struct written **out, const struct vms_live_temporary *how,
		struct err *err);
void written_free(struct written *written); /* NULL is ignored */

/* Any offset and length within the disk, not only whole sectors. */
int written_read(struct written *written, void *buffer, size_t length,
		 uint64_t offset);
int written_write(struct written *written, const void *buffer, size_t length,
		  uint64_t offset);
/* It reads as zeros, and takes no space. */
int written_zero(struct written *written, uint64_t length, uint64_t offset);
int written_flush(struct written *written);
/* As vms_reader_extent(). */
int written_extent(struct written *written, uint64_t offset, uint64_t length,
		   bool *is_hole, uint64_t *run);
/* Written up to now, the same place each time anew. */
uint64_t written_bytes(struct written *written);
/* Of the last write. */
int64_t written_time(struct written *written);

#endif
