/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache is cut into shards by id, each with a lock, a hash table and a list
 * by time of use, so that readers on many threads seldom meet. Locks are
 * never held during a fetch or a copy. Ids are keyed hashes of their content:
 * stores with other keys can't collide, and their first bytes hash well.
 */
#include "vmsnap/chunk_cache.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SHARDS_MAX      16u
#define SHARD_BYTES_MIN (4u << 20) /* the largest chunk */
#define BUCKET_BYTES    (8u << 10) /* a bucket for so much memory */

struct shard {
	pthread_mutex_t lock; /* all below, and the entries' own fields */
	pthread_cond_t changed;
	struct cache_entry **buckets;
	struct cache_entry *newest, *oldest;
	uint64_t bytes;
	uint64_t hits, fetches;
};

struct chunk_cache {
	unsigned shard_count;
	uint64_t shard_bytes_max;
	size_t bucket_count; /* of a shard; a power of two */
	struct shard shards[SHARDS_MAX];
};

int chunk_cache_new(struct chunk_cache **out, size_t memory_bytes,
		    struct err *err)
{
	struct chunk_cache *cache = NULL;
	int r = alloc_array(&cache, 1, sizeof(*cache), err);

	if (r < 0)
		return r;
	if (!memory_bytes)
		memory_bytes = CHUNK_CACHE_DEFAULT;
	cache->shard_count = 1;
	while (cache->shard_count < SHARDS_MAX &&
	       memory_bytes / (cache->shard_count * 2) >= SHARD_BYTES_MIN)
		cache->shard_count *= 2;
	cache->shard_bytes_max = memory_bytes / cache->shard_count;
	cache->bucket_count = 64;
	while (cache->bucket_count < cache->shard_bytes_max / BUCKET_BYTES)
		cache->bucket_count *= 2;
	for (unsigned n = 0; n < cache->shard_count; n++) {
		struct shard *shard = &cache->shards[n];

		pthread_mutex_init(&shard->lock, NULL);
		pthread_cond_init(&shard->changed, NULL);
		if (r == 0)
			r = alloc_array(&shard->buckets, cache->bucket_count,
					sizeof(struct cache_entry *), err);
	}
	if (r < 0) {
		chunk_cache_free(cache);
		return r;
	}
	*out = cache;
	return 0;
}

static void entry_free(struct cache_entry *entry)
{
	if (entry)
		free(entry->data);
	free(entry);
}

void chunk_cache_free(struct chunk_cache *cache)
{
	if (!cache)
		return;
	for (unsigned n = 0; n < cache->shard_count; n++) {
		struct shard *shard = &cache->shards[n];

		while (shard->oldest) {
			struct cache_entry *entry = shard->oldest;

			shard->oldest = entry->newer;
			entry_free(entry);
		}
		free(shard->buckets);
		pthread_mutex_destroy(&shard->lock);
		pthread_cond_destroy(&shard->changed);
	}
	free(cache);
}

/* ---- under a shard's lock ---- */

static struct shard *shard_of(struct chunk_cache *cache, const struct id *id)
{
	return &cache->shards[id->b[ID_SIZE - 1] & (cache->shard_count - 1)];
}

static struct cache_entry **bucket_of(struct chunk_cache *cache,
				      struct shard *shard, const struct id *id)
{
	uint64_t hash;

	memcpy(&hash, id->b, sizeof(hash));
	return &shard->buckets[hash & (cache->bucket_count - 1)];
}

static struct cache_entry *find(struct chunk_cache *cache, struct shard *shard,
				enum chunk_kind kind, const struct id *id,
				uint32_t capacity)
{
	struct cache_entry *entry = *bucket_of(cache, shard, id);

	while (entry && (entry->kind != kind || entry->capacity != capacity ||
			 !id_equal(&entry->id, id)))
		entry = entry->chain;
	return entry;
}

static void list_remove(struct shard *shard, struct cache_entry *entry)
{
	if (entry->newer)
		entry->newer->older = entry->older;
	else
		shard->newest = entry->older;
	if (entry->older)
		entry->older->newer = entry->newer;
	else
		shard->oldest = entry->newer;
	entry->newer = entry->older = NULL;
}

static void list_add(struct shard *shard, struct cache_entry *entry)
{
	entry->older = shard->newest;
	entry->newer = NULL;
	if (shard->newest)
		shard->newest->newer = entry;
	else
		shard->oldest = entry;
	shard->newest = entry;
}

static void insert(struct chunk_cache *cache, struct shard *shard,
		   struct cache_entry *entry)
{
	struct cache_entry **bucket = bucket_of(cache, shard, &entry->id);

	entry->chain = *bucket;
	*bucket = entry;
	entry->is_listed = true;
	list_add(shard, entry);
	shard->bytes += entry->capacity;
}

/* It is found no more; freed once nobody holds it. */
static void forget(struct chunk_cache *cache, struct shard *shard,
		   struct cache_entry *entry)
{
	struct cache_entry **at = bucket_of(cache, shard, &entry->id);

	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	list_remove(shard, entry);
	entry->is_listed = false;
	shard->bytes -= entry->capacity;
	if (!entry->refs)
		entry_free(entry);
}

/* The longest unused go until there is room; what is held stays. */
static void evict(struct chunk_cache *cache, struct shard *shard)
{
	struct cache_entry *entry = shard->oldest;

	while (entry && shard->bytes > cache->shard_bytes_max) {
		struct cache_entry *newer = entry->newer;

		if (!entry->refs)
			forget(cache, shard, entry);
		entry = newer;
	}
}

static void use(struct shard *shard, struct cache_entry *entry)
{
	entry->refs++;
	list_remove(shard, entry);
	list_add(shard, entry);
}

/* ---- the calls ---- */

static struct cache_entry *entry_new(enum chunk_kind kind, const struct id *id,
				     uint32_t capacity)
{
	struct cache_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->data = malloc(capacity);
	if (!entry->data) {
		free(entry);
		return NULL;
	}
	entry->id = *id;
	entry->kind = kind;
	entry->capacity = capacity;
	entry->state = CACHE_LOADING;
	entry->refs = 1;
	return entry;
}

int chunk_cache_begin(struct chunk_cache *cache, enum chunk_kind kind,
		      const struct id *id, uint32_t capacity,
		      struct cache_entry **out, bool *is_mine, struct err *err)
{
	struct shard *shard = shard_of(cache, id);
	struct cache_entry *entry;
	int r = 0;

	*is_mine = false;
	pthread_mutex_lock(&shard->lock);
	entry = find(cache, shard, kind, id, capacity);
	if (entry) {
		use(shard, entry);
		shard->hits++;
	} else {
		entry = entry_new(kind, id, capacity);
		if (entry) {
			insert(cache, shard, entry);
			evict(cache, shard);
			shard->fetches++;
			*is_mine = true;
		} else {
			r = err_set(err, -ENOMEM,
				    "out of memory for the chunk cache");
		}
	}
	pthread_mutex_unlock(&shard->lock);
	if (r == 0)
		*out = entry;
	return r;
}

void chunk_cache_finish(struct chunk_cache *cache, struct cache_entry *entry,
			uint32_t size, int result)
{
	struct shard *shard = shard_of(cache, &entry->id);

	pthread_mutex_lock(&shard->lock);
	entry->size = size;
	entry->result = result;
	entry->state = result ? CACHE_FAILED : CACHE_READY;
	if (result)
		forget(cache, shard, entry);
	pthread_cond_broadcast(&shard->changed);
	pthread_mutex_unlock(&shard->lock);
}

int chunk_cache_wait(struct chunk_cache *cache, struct cache_entry *entry)
{
	struct shard *shard = shard_of(cache, &entry->id);
	int r;

	pthread_mutex_lock(&shard->lock);
	while (entry->state == CACHE_LOADING)
		pthread_cond_wait(&shard->changed, &shard->lock);
	r = entry->result;
	pthread_mutex_unlock(&shard->lock);
	return r;
}

struct cache_entry *chunk_cache_peek(struct chunk_cache *cache,
				     enum chunk_kind kind, const struct id *id,
				     uint32_t capacity)
{
	struct shard *shard = shard_of(cache, id);
	struct cache_entry *entry;

	pthread_mutex_lock(&shard->lock);
	entry = find(cache, shard, kind, id, capacity);
	if (entry && entry->state != CACHE_READY)
		entry = NULL;
	if (entry) {
		use(shard, entry);
		shard->hits++;
	}
	pthread_mutex_unlock(&shard->lock);
	return entry;
}

void chunk_cache_put(struct chunk_cache *cache, struct cache_entry *entry)
{
	struct shard *shard = shard_of(cache, &entry->id);

	pthread_mutex_lock(&shard->lock);
	entry->refs--;
	if (!entry->refs && !entry->is_listed)
		entry_free(entry);
	else
		evict(cache, shard);
	pthread_mutex_unlock(&shard->lock);
}

void chunk_cache_totals(struct chunk_cache *cache,
			struct chunk_cache_totals *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned n = 0; n < cache->shard_count; n++) {
		struct shard *shard = &cache->shards[n];

		pthread_mutex_lock(&shard->lock);
		out->held_bytes += shard->bytes;
		out->hits += shard->hits;
		out->fetches += shard->fetches;
		pthread_mutex_unlock(&shard->lock);
	}
}
