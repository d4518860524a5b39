/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over a source: deals out segments to workers in order, takes their
 * results in any order, and feeds the tree and the tags in order again. A ring of
 * slots bounds how far one worker may run ahead of another. Private.
 */
#ifndef VMSNAP_SCAN_H
#define VMSNAP_SCAN_H

#include "vmsnap/filter.h"
#include "vmsnap/source.h"

#define SEGMENT_CHUNKS_MAX (SEGMENT_BYTES >> CHUNK_LOG2_MIN)

/* A run of chunks; between scan_next() and scan_complete() one worker's. */
struct segment {
	uint64_t first;
	uint64_t count; /* at most SEGMENT_CHUNKS_MAX unless a hole */
	bool is_hole;
	bool done;
	struct id ids[SEGMENT_CHUNKS_MAX];
	struct filter_tag tags[SEGMENT_CHUNKS_MAX];
};

struct scan;

/* `volume` gives size and chunk size. Both must outlive the scan. */
int scan_new(struct scan **out, struct source *source,
	     const struct volume *volume, struct vms_progress *progress,
	     struct err *err);
void scan_free(struct scan *scan);

/*
 * The next segment of data: 1, 0 at the end (or after a failure anywhere), or
 * -errno. For a stream its bytes are read into `buffer` here. With `wait` unset
 * -EAGAIN: a worker that still holds a segment may not wait for room. `thread`
 * puts the nodes of what came to be in order.
 */
int scan_next(struct scan *scan, bool wait, void *buffer,
	      struct store_thread *thread, struct segment **out,
	      struct err *err);
/* ids and tags are filled in. */
int scan_complete(struct scan *scan, struct segment *segment,
		  struct store_thread *thread, struct err *err);
/* Let the other workers end. */
void scan_fail(struct scan *scan);

/* All is complete: the roots. */
int scan_finish(struct scan *scan, struct store_thread *thread, struct id *root,
		struct id *tags, struct err *err);

#endif
