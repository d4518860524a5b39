/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of vmsnap/ share. Private. */
#ifndef VMSNAP_ENGINE_H
#define VMSNAP_ENGINE_H

#include <pthread.h>

#include "vmsnap/vmsnap.h"

#define IDLE_THREADS_MAX 16u

struct vms {
	struct vs_io *io;
	bool own_io;
	struct store *store;
	unsigned workers;
	unsigned readers; /* workers that read the store: a few wait for it */
	char *location;

	pthread_mutex_t idle_lock; /* guards these two; a leaf */
	struct store_thread *idle[IDLE_THREADS_MAX];
	unsigned idle_count;

	pthread_mutex_t refresh_lock; /* held while tables are listed */
	int64_t refreshed_ns;         /* monotonic; when the last one began */
};

/* A thread's contexts, from those that lie idle if there are any. Any thread.
 * NULL with words. */
struct store_thread *vms_thread_take(struct vms *vms, struct err *err);
void vms_thread_give(struct vms *vms, struct store_thread *thread);

/*
 * Something that was looked for since `since_ns` (monotonic) was not found, or
 * not where it was: another process may have moved it. true: the tables have
 * been listed anew since, so it is worth another try. At most one listing a
 * second. Any thread.
 */
bool vms_look_again(struct vms *vms, int64_t since_ns);

/* Work is dealt out in segments of this many bytes (or one chunk). */
#define SEGMENT_BYTES MIB
#define IO_ALIGNMENT  4096u

/* Chunks in a segment for this chunk size: 1 to 64. */
unsigned segment_chunks(unsigned chunk_log2);
/* Bytes of a segment's buffer, at least SEGMENT_BYTES. */
size_t segment_bytes(unsigned chunk_log2);
/* IO_ALIGNMENT aligned; free() it. NULL with words. */
void *segment_buffer(unsigned chunk_log2, struct err *err);

/* 1: there is input, or its end. 0: not yet, after a moment or `most_ms`: ask
 * again. -ECANCELED. */
int progress_wait(const struct vms_progress *progress, int fd, int64_t most_ms,
		  struct err *err);
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

/* ---- what makes a snapshot ---- */

#define NAME_RULE \
	"letters, digits, '.', '_' and '-', the first a letter or digit, at most 128"

/* -EINVAL; `label` may be NULL. */
int snapshot_names_check(const char *name, const char *label, struct err *err);
/* -EEXIST: a snapshot of this name has the label. */
int snapshot_label_check(struct vms *vms, const char *name, const char *label,
			 struct err *err);
/* Name, label, parent (NULL: none), host, writer. */
int snapshot_begin(struct snapshot *snapshot, const char *name,
		   const char *label, const struct id *parent, struct err *err);

#endif
