/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the reader share. Private. */
#ifndef VMSNAP_READER_H
#define VMSNAP_READER_H

#include "vmsnap/chunk_cache.h"
#include "vmsnap/engine.h"

#define WINDOW_CHUNKS_MAX (SEGMENT_BYTES >> CHUNK_LOG2_MIN)
#define STREAMS           4u

/* Somebody reads in order. */
struct stream {
	uint64_t next;  /* where we expect the next read */
	uint64_t ahead; /* asked for up to here */
	unsigned steps; /* how often it went on as expected */
};

struct vms_reader {
	struct vms *vms;
	struct vms_cache *cache;
	struct volume volume; /* name, size, chunk size, root only */
	uint64_t chunk_count;
	unsigned levels;

	pthread_mutex_t
		streams_lock; /* guards these two; before the cache's lock */
	struct stream streams[STREAMS];
	unsigned next_stream;

	unsigned jobs; /* waiting or running; by the cache's lock */
};

/* One read as long as it lasts: takes a store's thread when it needs one. */
struct visit {
	struct vms_reader *reader;
	struct store_thread *thread;
	bool only_cached; /* -EAGAIN instead of a fetch or a wait */
};
int visit_thread(struct visit *visit, struct err *err);
void visit_end(struct visit *visit);

/* Some neighbouring chunks, held. */
struct window {
	uint64_t first;
	unsigned count; /* at most WINDOW_CHUNKS_MAX, in one node */
	struct id ids[WINDOW_CHUNKS_MAX];
	struct cache_entry *entries[WINDOW_CHUNKS_MAX]; /* NULL: a hole */
	bool is_mine[WINDOW_CHUNKS_MAX];
};
/* The chunks from `first` that one window takes, at most up to `end`. */
unsigned window_span(const struct vms_reader *reader, uint64_t first,
		     uint64_t end);
/* first and count are set. On failure nothing is held. */
int window_get(struct visit *visit, struct window *window, struct err *err);
void window_put(struct visit *visit, struct window *window);

/* ---- reader_tree.c ---- */

/* The ids of chunks that are all in one node of level 1. */
int visit_ids(struct visit *visit, uint64_t first, unsigned count,
	      struct id *ids, struct err *err);

/* ---- read_ahead.c ---- */

struct read_ahead;

struct vms_cache {
	struct chunk_cache *chunks;
	uint64_t ahead_max_bytes;
	struct read_ahead *ahead;
};

/* [offset, offset + length) was asked for: fetch what comes next, perhaps. */
void read_ahead_note(struct vms_reader *reader, uint64_t offset,
		     uint64_t length);
int read_ahead_new(struct read_ahead **out, struct err *err);
void read_ahead_free(struct read_ahead *ahead);
/* Nothing of this reader waits or runs any more. */
void read_ahead_leave(struct vms_reader *reader);

#endif
