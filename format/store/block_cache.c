/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decrypted table blocks, shared by all tables of an index. Sharded by key so
 * that threads seldom wait for each other; each shard is a ring of slots
 * evicted by CLOCK, with a chained hash over it. All memory is taken at the
 * start (the kernel gives pages as they are touched), so a full disk of
 * hostile tables cannot make it grow.
 */
#include "format/store/block_cache.h"

#include <errno.h>
#include <pthread.h>

#include "format/base/base.h"

#define SHARD_COUNT 16u
#define NO_SLOT     UINT32_MAX

struct slot {
	uint64_t table, block;
	uint32_t next; /* in its hash chain */
	bool used;
	bool recent; /* CLOCK's second chance */
};

struct shard {
	pthread_mutex_t lock;
	struct slot *slots;
	struct table_block *blocks;
	uint32_t *heads;
	uint32_t count; /* slots and heads */
	uint32_t hand;
};

struct block_cache {
	struct shard shards[SHARD_COUNT];
};

static uint64_t key_hash(uint64_t table, uint64_t block)
{
	uint64_t h = table * 0x9e3779b97f4a7c15u ^ block;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static int shard_init(struct shard *shard, uint32_t count, struct err *err)
{
	int r;
	uint32_t n;

	pthread_mutex_init(&shard->lock, NULL);
	r = alloc_array(&shard->slots, count, sizeof(*shard->slots), err);
	if (r == 0)
		r = alloc_array(&shard->blocks, count, sizeof(*shard->blocks),
				err);
	if (r == 0)
		r = alloc_array(&shard->heads, count, sizeof(*shard->heads),
				err);
	if (r < 0)
		return r;
	for (n = 0; n < count; n++)
		shard->heads[n] = NO_SLOT;
	shard->count = count;
	return 0;
}

struct block_cache *block_cache_new(size_t bytes, struct err *err)
{
	size_t each = bytes / SHARD_COUNT /
		      (sizeof(struct table_block) + sizeof(struct slot) +
		       sizeof(uint32_t));
	struct block_cache *cache;
	unsigned n;

	if (each < 1)
		each = 1;
	if (each > UINT32_MAX / 2)
		each = UINT32_MAX / 2;
	if (alloc_array(&cache, 1, sizeof(*cache), err) < 0)
		return NULL;
	for (n = 0; n < SHARD_COUNT; n++) {
		if (shard_init(&cache->shards[n], (uint32_t)each, err) < 0) {
			block_cache_free(cache);
			return NULL;
		}
	}
	return cache;
}

void block_cache_free(struct block_cache *cache)
{
	unsigned n;

	if (!cache)
		return;
	for (n = 0; n < SHARD_COUNT; n++) {
		struct shard *shard = &cache->shards[n];

		pthread_mutex_destroy(&shard->lock);
		free(shard->slots);
		free(shard->blocks);
		free(shard->heads);
	}
	free(cache);
}

static uint32_t shard_find(const struct shard *shard, uint64_t hash,
			   uint64_t table, uint64_t block)
{
	uint32_t at = shard->heads[hash % shard->count];

	while (at != NO_SLOT && (shard->slots[at].table != table ||
				 shard->slots[at].block != block))
		at = shard->slots[at].next;
	return at;
}

static struct shard *shard_of(struct block_cache *cache, uint64_t *hash)
{
	struct shard *shard = &cache->shards[*hash % SHARD_COUNT];

	*hash /= SHARD_COUNT;
	return shard;
}

bool block_cache_get(struct block_cache *cache, uint64_t table, uint64_t block,
		     struct table_block *out)
{
	uint64_t hash = key_hash(table, block);
	struct shard *shard = shard_of(cache, &hash);
	uint32_t at;

	pthread_mutex_lock(&shard->lock);
	at = shard_find(shard, hash, table, block);
	if (at != NO_SLOT) {
		shard->slots[at].recent = true;
		*out = shard->blocks[at];
	}
	pthread_mutex_unlock(&shard->lock);
	return at != NO_SLOT;
}

static void shard_unlink(struct shard *shard, uint32_t victim)
{
	const struct slot *slot = &shard->slots[victim];
	uint64_t hash = key_hash(slot->table, slot->block) / SHARD_COUNT;
	uint32_t *at = &shard->heads[hash % shard->count];

	while (*at != victim)
		at = &shard->slots[*at].next;
	*at = slot->next;
}

static uint32_t shard_evict(struct shard *shard)
{
	uint32_t victim;

	while (shard->slots[shard->hand].used &&
	       shard->slots[shard->hand].recent) {
		shard->slots[shard->hand].recent = false;
		shard->hand = (shard->hand + 1) % shard->count;
	}
	victim = shard->hand;
	shard->hand = (shard->hand + 1) % shard->count;
	if (shard->slots[victim].used)
		shard_unlink(shard, victim);
	return victim;
}

void block_cache_put(struct block_cache *cache, uint64_t table, uint64_t block,
		     const struct table_block *data)
{
	uint64_t hash = key_hash(table, block);
	struct shard *shard = shard_of(cache, &hash);
	struct slot *slot;
	uint32_t at;

	pthread_mutex_lock(&shard->lock);
	if (shard_find(shard, hash, table, block) == NO_SLOT) {
		at = shard_evict(shard);
		slot = &shard->slots[at];
		*slot = (struct slot){
			.table = table,
			.block = block,
			.next = shard->heads[hash % shard->count],
			.used = true,
		};
		shard->heads[hash % shard->count] = at;
		shard->blocks[at] = *data;
	}
	pthread_mutex_unlock(&shard->lock);
}
