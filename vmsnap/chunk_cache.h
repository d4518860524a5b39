/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verified chunks and nodes in memory, for all readers of a process. Private.
 *
 * An entry is made by whoever first wants it, filled by that thread, and never
 * changed after that: who holds one may read it without a lock. Others that
 * want it meanwhile wait for the one fetch.
 */
#ifndef VMSNAP_CHUNK_CACHE_H
#define VMSNAP_CHUNK_CACHE_H

#include "vmsnap/vmsnap.h"

#define CHUNK_CACHE_DEFAULT (64u << 20)

enum cache_state {
	CACHE_LOADING,
	CACHE_READY,
	CACHE_FAILED,
};

struct cache_entry {
	struct id id;
	enum chunk_kind kind;
	uint32_t size;     /* of the content; of a node: set when ready */
	uint32_t capacity; /* of `data` */
	uint8_t *data;
	/* The rest belongs to the cache. */
	enum cache_state state;
	int result;
	unsigned refs; /* holders; the table's own is not counted */
	bool is_listed;
	struct cache_entry *chain;
	struct cache_entry *newer, *older;
};

struct chunk_cache;

/* Room for so many bytes (0: the default). What is held or being fetched at
 * the moment may come on top. */
int chunk_cache_new(struct chunk_cache **out, size_t memory_bytes,
		    struct err *err);
/* Nothing may be held. NULL is ignored. */
void chunk_cache_free(struct chunk_cache *cache);

/*
 * The entry of that id and capacity, held. *is_mine: it was not there, and the caller must
 * fill `data` (at most `capacity` bytes) and call chunk_cache_finish(); it may
 * begin others before that, but not wait. Else the caller waits, when it owes
 * nothing any more. -ENOMEM.
 */
int chunk_cache_begin(struct chunk_cache *cache, enum chunk_kind kind,
		      const struct id *id, uint32_t capacity,
		      struct cache_entry **out, bool *is_mine, struct err *err);
/* `size` bytes are there, or `result` says why not (then it is forgotten). */
void chunk_cache_finish(struct chunk_cache *cache, struct cache_entry *entry,
			uint32_t size, int result);
/* 0 when it is ready, else the result of the one that fetched it. */
int chunk_cache_wait(struct chunk_cache *cache, struct cache_entry *entry);
/* Held if it is there and ready, else NULL. Never waits. */
struct cache_entry *chunk_cache_peek(struct chunk_cache *cache,
				     enum chunk_kind kind, const struct id *id,
				     uint32_t capacity);
void chunk_cache_put(struct chunk_cache *cache, struct cache_entry *entry);

struct chunk_cache_totals {
	uint64_t held_bytes; /* now */
	uint64_t hits;
	uint64_t fetches;
};
void chunk_cache_totals(struct chunk_cache *cache,
			struct chunk_cache_totals *out);

#endif
