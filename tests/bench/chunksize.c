/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a chunk size costs and saves, before there is a store: over the disks
 * given, in their order, for each chunk size from 4 KiB to 4 MiB the chunks
 * that are unique (a set of XXH3-128), what zstd makes of them, what the last
 * disk alone adds, and what index and tree cost (40 bytes a unique chunk, 32 a
 * chunk of each disk). Prints a Markdown table. Two threads; time is CPU time,
 * so that a loaded machine does not matter much.
 */
#include <pthread.h>
#include <stdio.h>

#include <xxhash.h>
#include <zstd.h>

#include "tests/bench/extents.h"

#define WORKERS     2
#define LEVELS      2
#define SHARDS      64
#define INDEX_BYTES 40
#define TREE_BYTES  32

static const int levels[LEVELS] = { 1, 3 };

/* Open addressing; {0, 0} is an empty slot and never a hash that matters. */
struct shard {
	pthread_mutex_t lock;
	XXH128_hash_t *slots;
	size_t mask;
	size_t used;
};

/* What one disk added, and what the disks before it had. */
struct sums {
	_Atomic uint64_t data_bytes;
	_Atomic uint64_t chunks; /* not zero */
	_Atomic uint64_t unique;
	_Atomic uint64_t unique_bytes;
	_Atomic uint64_t packed[LEVELS];
	_Atomic uint64_t cpu_ns[LEVELS];
};

struct pass {
	struct pieces pieces;
	struct shard *shards;
	struct sums *sums;
	size_t chunk;
};

static void shard_grow(struct shard *s)
{
	XXH128_hash_t *old = s->slots;
	size_t count = old ? s->mask + 1 : 0;

	s->mask = count ? 2 * count - 1 : 1023;
	s->slots = calloc(s->mask + 1, sizeof(*s->slots));
	if (!s->slots)
		err(1, "set");
	for (size_t i = 0; i < count; i++) {
		size_t at = (size_t)old[i].low64 & s->mask;

		if (!old[i].low64 && !old[i].high64)
			continue;
		while (s->slots[at].low64 || s->slots[at].high64)
			at = (at + 1) & s->mask;
		s->slots[at] = old[i];
	}
	free(old);
}

/* True when it was not there. */
static bool shard_add(struct shard *s, XXH128_hash_t hash)
{
	bool added = true;
	size_t at;

	pthread_mutex_lock(&s->lock);
	if (!s->slots || 2 * s->used > s->mask)
		shard_grow(s);
	at = (size_t)hash.low64 & s->mask;
	while (s->slots[at].low64 || s->slots[at].high64) {
		if (XXH128_isEqual(s->slots[at], hash)) {
			added = false;
			break;
		}
		at = (at + 1) & s->mask;
	}
	if (added) {
		s->slots[at] = hash;
		s->used++;
	}
	pthread_mutex_unlock(&s->lock);
	return added;
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct buffers {
	ZSTD_CCtx *zstd[LEVELS];
	uint8_t *in;
	uint8_t *out;
	size_t out_capacity;
};

static void do_chunk(struct pass *pass, struct buffers *b, const uint8_t *data,
		     size_t size)
{
	struct sums *sums = pass->sums;
	XXH128_hash_t hash;

	if (all_zero(data, size))
		return;
	sums->chunks++;
	hash = XXH3_128bits(data, size);
	if (!shard_add(&pass->shards[hash.high64 % SHARDS], hash))
		return;
	sums->unique++;
	sums->unique_bytes += size;
	for (size_t i = 0; i < LEVELS; i++) {
		uint64_t start = thread_cpu_ns();
		size_t packed = ZSTD_compress2(b->zstd[i], b->out,
					       b->out_capacity, data, size);

		if (ZSTD_isError(packed))
			errx(1, "zstd: %s", ZSTD_getErrorName(packed));
		sums->packed[i] += min_u64(packed, size);
		sums->cpu_ns[i] += thread_cpu_ns() - start;
	}
}

static void *worker_run(void *arg)
{
	struct pass *pass = arg;
	struct buffers b = { .out_capacity = ZSTD_compressBound(pass->chunk) };
	struct piece piece;

	b.in = malloc((size_t)max_u64(pass->chunk, PIECE_BYTES));
	b.out = malloc(b.out_capacity);
	for (size_t i = 0; i < LEVELS; i++) {
		b.zstd[i] = ZSTD_createCCtx();
		if (!b.in || !b.out || !b.zstd[i])
			err(1, "buffers");
		ZSTD_CCtx_setParameter(b.zstd[i], ZSTD_c_compressionLevel,
				       levels[i]);
	}
	while (pieces_next(&pass->pieces, b.in, &piece)) {
		for (size_t at = 0; at < piece.length; at += pass->chunk)
			do_chunk(pass, &b, b.in + at,
				 (size_t)min_u64(pass->chunk,
						 piece.length - at));
	}
	for (size_t i = 0; i < LEVELS; i++)
		ZSTD_freeCCtx(b.zstd[i]);
	free(b.in);
	free(b.out);
	return NULL;
}

static void scan_disk(const char *path, size_t chunk, struct shard *shards,
		      struct sums *sums)
{
	struct pass pass = { .shards = shards, .sums = sums, .chunk = chunk };
	pthread_t threads[WORKERS];

	pieces_open(&pass.pieces, path, chunk);
	sums->data_bytes = pass.pieces.bytes;
	for (size_t i = 0; i < WORKERS; i++)
		if (pthread_create(&threads[i], NULL, worker_run, &pass))
			errx(1, "no thread");
	for (size_t i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	pieces_close(&pass.pieces);
}

static double mb(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

static void print_row(size_t chunk, const struct sums *all,
		      const struct sums *last)
{
	uint64_t overhead =
		INDEX_BYTES * all->unique + TREE_BYTES * all->chunks;

	if (chunk < MIB)
		printf("| %zu KiB ", chunk / (size_t)KIB);
	else
		printf("| %zu MiB ", chunk / (size_t)MIB);
	printf("| %llu | %.0f | %.0f | %.0f | %.1f | %.0f | %.0f | %.0f "
	       "| %.1f | %.1f |\n",
	       (unsigned long long)all->unique, mb(all->unique_bytes),
	       mb(all->packed[0]), mb(all->packed[1]), mb(overhead),
	       mb(all->packed[0] + overhead), mb(last->packed[0]),
	       mb(last->packed[1]), (double)all->cpu_ns[0] / 1e9,
	       (double)all->cpu_ns[1] / 1e9);
	fflush(stdout);
}

static void try_chunk_size(size_t chunk, char **paths, int count)
{
	struct shard shards[SHARDS] = { 0 };
	struct sums all = { 0 }, last = { 0 };

	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&shards[i].lock, NULL);
	for (int d = 0; d < count; d++) {
		memset(&last, 0, sizeof(last));
		scan_disk(paths[d], chunk, shards, &last);
		all.data_bytes += last.data_bytes;
		all.chunks += last.chunks;
		all.unique += last.unique;
		all.unique_bytes += last.unique_bytes;
		for (size_t i = 0; i < LEVELS; i++) {
			all.packed[i] += last.packed[i];
			all.cpu_ns[i] += last.cpu_ns[i];
		}
	}
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_destroy(&shards[i].lock);
		free(shards[i].slots);
	}
	print_row(chunk, &all, &last);
}

int main(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] == '-')
		errx(2, "usage: chunksize DISK...");

	printf("| chunk | unique chunks | unique MB | zstd 1 MB | zstd 3 MB "
	       "| index + tree MB | zstd 1 + those MB | last disk alone, 1 "
	       "| last alone, 3 | CPU s, 1 | CPU s, 3 |\n"
	       "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- "
	       "| --- |\n");
	for (size_t chunk = 4 * KIB; chunk <= CHUNK_BYTES_MAX; chunk *= 2)
		try_chunk_size(chunk, argv + 1, argc - 1);
	return 0;
}
