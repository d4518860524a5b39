/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vmsnap/ share. Private. */
#ifndef VMSNAP_ENGINE_H
#define VMSNAP_ENGINE_H

#include "vmsnap/vmsnap.h"

struct vms {
	struct vs_io *io;
	bool own_io;
	struct store *store;
	unsigned workers;
	char *location;
};

/* Work is dealt out in segments of this many bytes (or one chunk). */
#define SEGMENT_BYTES MIB
#define IO_ALIGNMENT  4096u

/* Chunks in a segment for this chunk size: 1 to 64. */
unsigned segment_chunks(unsigned chunk_log2);
/* Bytes of a segment's buffer, at least SEGMENT_BYTES. */
size_t segment_bytes(unsigned chunk_log2);
/* IO_ALIGNMENT aligned; free() it. NULL with words. */
void *segment_buffer(unsigned chunk_log2, struct err *err);

/* -ECANCELED with words once the caller asked to stop. */
int progress_check(const struct vms_progress *progress, struct err *err);
void progress_add(_Atomic uint64_t *counter, uint64_t n);

/* Add [offset, offset + length), joined to the last where it touches it;
 * ranges come in any order and are put in theirs by ranges_sort(). */
int ranges_add(struct vms_ranges *ranges, uint64_t offset, uint64_t length,
	       struct err *err);
void ranges_sort(struct vms_ranges *ranges);
void ranges_release(struct vms_ranges *ranges);

/* The content size of chunk `number` of a volume. */
uint32_t volume_chunk_bytes(const struct volume *volume, uint64_t number);

/* Is the block device (st_rdev) mounted, or a disk with a mounted part?
 * Writes where, at most `size` bytes, to `where`. */
bool device_is_mounted(const char *path, char *where, size_t size);

#endif
