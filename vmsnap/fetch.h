/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over a volume in the store: workers fetch its segments in order of
 * the disk and hand them to a sink. Restore and verify are sinks. Private.
 */
#ifndef VMSNAP_FETCH_H
#define VMSNAP_FETCH_H

#include "vmsnap/engine.h"

#define FETCH_CHUNKS_MAX (SEGMENT_BYTES >> CHUNK_LOG2_MIN)
#define FETCH_BUFFERS    2u

enum chunk_state {
	CHUNK_HOLE,
	CHUNK_WANTED,    /* to be fetched; after that: it is in the buffer */
	CHUNK_UNCHANGED, /* the sink has it already: not fetched */
	CHUNK_DAMAGED,   /* could not be read; its buffer is zero */
};

struct fetch_segment {
	uint64_t sequence; /* counts from 0 without a gap */
	uint64_t first;
	uint64_t count; /* at most FETCH_CHUNKS_MAX unless is_hole */
	bool is_hole;   /* all of it: no buffer */
	unsigned turn;  /* which of the worker's buffers it is in */
	uint8_t *buffer;
	struct id ids[FETCH_CHUNKS_MAX];
	enum chunk_state states[FETCH_CHUNKS_MAX];
};

/* Called by worker `worker`; segments of one worker come in order. */
struct fetch_sink {
	/* Before worker n's first segment, and after its last (called
	 * whenever start went well, also after a failure; the buffers are
	 * freed after it). May be NULL. */
	int (*start)(void *arg, unsigned worker, struct err *err);
	int (*end)(void *arg, unsigned worker, struct err *err);
	/* Buffer `turn` is about to be written to. May be NULL. */
	int (*reuse)(void *arg, unsigned worker, unsigned turn,
		     struct err *err);
	/* Before the fetch: may turn CHUNK_WANTED into CHUNK_UNCHANGED. May be
	 * NULL. */
	int (*before)(void *arg, unsigned worker, struct store_thread *thread,
		      struct fetch_segment *segment, struct err *err);
	/* The content is there. */
	int (*after)(void *arg, unsigned worker, struct fetch_segment *segment,
		     struct err *err);
	/* Something failed somewhere: let waiting workers go. May be NULL. */
	void (*failed)(void *arg);
};

struct fetch {
	struct vms *vms;
	const struct volume *volume;
	const struct fetch_sink *sink;
	void *arg;
	bool skip_damaged; /* else the first damage ends it, -EBADMSG */
	bool want_holes;   /* hole segments are handed to after(), too */
	struct vms_progress *progress;
	struct vms_restore_result *result; /* data_bytes, damaged, first_damage
					      are added to */
};

int fetch_run(const struct fetch *fetch, struct err *err);

#endif
