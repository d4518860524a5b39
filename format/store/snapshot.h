/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a snapshot: records in, records out, no I/O.
 * spec/store.md, Snapshot.
 */
#ifndef FORMAT_STORE_SNAPSHOT_H
#define FORMAT_STORE_SNAPSHOT_H

#include "format/base/bytes.h"
#include "format/store/id.h"
#include "format/store/record.h"

#define SNAPSHOT_VOLUMES_MAX  64
#define VOLUME_SIZE_MAX       (64ULL << 40)
#define VOLUME_BAD_RANGES_MAX 65536u
#define VOLUME_SOURCE_MAX     4096
#define SNAPSHOT_TEXT_MAX     256
#define CHUNK_LOG2_MIN        14u
#define CHUNK_LOG2_MAX        22u
#define TAGS_CHUNK_LOG2       14u /* of the volume that holds filter tags */

struct range {
	uint64_t offset;
	uint64_t length;
};

/* A byte array in the store. Zeroed is empty; owns source and bad. */
struct volume {
	char name[NAME_MAX_SIZE + 1];
	uint64_t size_bytes;
	unsigned chunk_log2;
	struct id root;
	bool has_tags;
	struct id tags; /* root of the tags' volume */
	struct range *bad;
	size_t bad_count;
	char *source; /* may be NULL */
};

static inline uint64_t volume_chunk_size(const struct volume *v)
{
	return 1ULL << v->chunk_log2;
}

static inline uint64_t volume_chunk_count(const struct volume *v)
{
	return (v->size_bytes >> v->chunk_log2) +
	       ((v->size_bytes & (volume_chunk_size(v) - 1)) != 0);
}

/* The volume that holds the tags of `v` (its name is empty; owns nothing). */
struct volume volume_of_tags(const struct volume *v);
void volume_release(struct volume *volume);

struct snapshot_totals {
	uint64_t logical_bytes;
	uint64_t scanned_bytes;
	uint64_t unchanged_bytes;
	uint64_t new_chunks;
	uint64_t new_content_bytes;
	uint64_t stored_bytes;
	uint64_t elapsed_us;
};

/* Zeroed is empty; owns what is behind pointers. */
struct snapshot {
	struct id id; /* random(16) || name tag(8) || sequence(8, big-endian) */
	char name[NAME_MAX_SIZE + 1];
	char label[NAME_MAX_SIZE + 1]; /* "" for none */
	uint64_t sequence;
	int64_t time_ns;
	bool has_parent;
	struct id parent;
	char *host;   /* may be NULL */
	char *writer; /* may be NULL */
	struct volume *volumes;
	size_t volume_count;
	struct snapshot_totals totals;
};

void snapshot_release(struct snapshot *snapshot);
/* A new volume at the end, zeroed; NULL with words. */
struct volume *snapshot_add_volume(struct snapshot *snapshot, struct err *err);
const struct volume *snapshot_volume(const struct snapshot *snapshot,
				     const char *name);

/* The plaintext of the sealed object. */
int snapshot_encode(const struct snapshot *snapshot, struct bytes *out,
		    struct err *err);
/* `id` is the object's; `what` its name for words. *out untouched on failure. */
int snapshot_decode(const struct id *id, const void *data, size_t size,
		    const char *what, struct snapshot *out, struct err *err);

static inline uint64_t snapshot_id_sequence(const struct id *id)
{
	uint64_t n;

	memcpy(&n, id->b + 24, sizeof(n));
	return __builtin_bswap64(n);
}

/* The volume's records, shared with pins. */
int volume_encode(const struct volume *volume, struct bytes *out,
		  struct err *err);
int volume_decode(const void *data, size_t size, const char *what,
		  struct volume *out, struct err *err);

#endif
