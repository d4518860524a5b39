/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large may a table get? Builds one of N made-up entries in a directory
 * backend, without holding them, opens it with a filter budget of 128 MiB,
 * looks up ids that are there and ids that are not, and prints JSON.
 *
 * usage: table_bench --entries N [--dir D] [--lookups M]
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "format/base/base.h"
#include "format/base/io.h"
#include "format/store/table.h"

#define FILTER_BUDGET (128u << 20)
#define CACHE_BYTES   (32u << 20)
#define PACK_CHUNKS   1024u
#define STORED        32768u

static const struct store_id store = { "table bench...." };
static const uint8_t data_key[KEY_SIZE] = "table bench";

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/*
 * The nth of `count` ids: the nth slice of the range of ids, at a random place
 * in it. So they ascend, look uniform, and each is made from n alone.
 */
static struct id id_at(uint64_t n, uint64_t count)
{
	uint64_t slice = UINT64_MAX / count;
	struct id id;

	be64_put(id.b, n * slice + mix(n) % slice);
	be64_put(id.b + 8, mix(n ^ 1ull << 60));
	be64_put(id.b + 16, mix(n ^ 1ull << 61));
	be64_put(id.b + 24, mix(n ^ 1ull << 62));
	return id;
}

static int add_packs(struct table_writer *writer, uint64_t entries,
		     struct err *err)
{
	uint64_t n;

	for (n = 0; n * PACK_CHUNKS < entries; n++) {
		const struct table_pack pack = {
			.id = id_at(n, 1 << 30),
			.size_bytes =
				le64_make(80 + (uint64_t)PACK_CHUNKS * STORED +
					  PACK_TAIL_SIZE(PACK_CHUNKS)),
			.count = le32_make(PACK_CHUNKS),
		};
		int64_t r = table_writer_add_pack(writer, &pack, err);

		if (r < 0)
			return (int)r;
	}
	return 0;
}

static int build(struct backend *backend, struct sealer *sealer,
		 uint64_t entries, struct id *id, struct err *err)
{
	struct table_writer *writer;
	uint64_t n;
	int r;

	r = table_writer_open(&writer, backend, &store, data_key, entries, err);
	if (r < 0)
		return r;
	r = add_packs(writer, entries, err);
	for (n = 0; n < entries && r == 0; n++) {
		struct id chunk = id_at(n, entries);
		struct entry entry;
		/* Chunks come to packs in another order than that of ids. */
		uint32_t pack = (uint32_t)(n % div_up(entries, PACK_CHUNKS));
		uint32_t place = (uint32_t)(n / div_up(entries, PACK_CHUNKS));

		entry_make(&entry, &chunk, pack, 80 + place * STORED, STORED,
			   CODEC_ZSTD, 65536, CHUNK_DATA);
		r = table_writer_add(writer, sealer, &entry, err);
	}
	if (r < 0) {
		table_writer_abort(writer);
		return r;
	}
	return table_writer_finish(writer, sealer, id, err);
}

/* Look-ups a second, or -errno. */
static double look_up(struct table *table, struct sealer *sealer,
		      uint64_t lookups, bool present, struct err *err)
{
	uint64_t entries = table_entries(table), n;
	int64_t began = time_monotonic_ns();
	struct entry entry;
	int r;

	for (n = 0; n < lookups; n++) {
		struct id id = id_at(mix(n + 77) % entries, entries);

		if (!present)
			id.b[31] ^= 1, id.b[20] ^= 0x55, id.b[9] ^= 0x33,
				id.b[17] ^= 0x77;
		r = table_find(table, sealer, &id, &entry, err);
		if (r >= 0 && r != present)
			r = err_set(err, -EBADMSG, "id %" PRIu64 ": %d", n, r);
		if (r < 0)
			return r;
	}
	return (double)lookups * 1e9 /
	       (double)max_u64(1, (uint64_t)(time_monotonic_ns() - began));
}

static int measure(struct backend *backend, struct sealer *sealer,
		   uint64_t entries, uint64_t lookups, struct err *err)
{
	struct block_cache *cache = block_cache_new(CACHE_BYTES, err);
	const struct table_open how = {
		.backend = backend,
		.cache = cache,
		.store = &store,
		.data_key = data_key,
		.filter_budget_bytes = FILTER_BUDGET,
	};
	char name[OBJECT_NAME_MAX];
	double seconds, present, absent;
	struct table *table = NULL;
	struct rusage usage;
	int64_t began = time_monotonic_ns();
	struct id id;
	int r = cache ? 0 : -ENOMEM;

	if (r == 0)
		r = build(backend, sealer, entries, &id, err);
	if (r < 0)
		goto out;
	seconds = (double)(time_monotonic_ns() - began) / 1e9;
	r = table_open(&table, &how, sealer, &id, err);
	if (r < 0)
		goto out_delete;
	present = look_up(table, sealer, lookups, true, err);
	absent = present < 0 ? present
			     : look_up(table, sealer, lookups, false, err);
	if (absent < 0) {
		r = (int)absent;
		goto out_delete;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"entries\": %" PRIu64 ", \"build_seconds\": %.3f, "
	       "\"build_per_second\": %.0f, "
	       "\"present_lookups_per_second\": %.0f, "
	       "\"absent_lookups_per_second\": %.0f, "
	       "\"peak_rss_bytes\": %ld}\n",
	       entries, seconds, (double)entries / seconds, present, absent,
	       usage.ru_maxrss * 1024);
out_delete:
	table_name(name, &id);
	backend_delete(backend, name, NULL);
out:
	table_close(table);
	block_cache_free(cache);
	return r;
}

static int run(const char *dir, uint64_t entries, uint64_t lookups,
	       struct err *err)
{
	struct vs_io *io = io_new(err);
	struct sealer *sealer = sealer_new(err);
	struct backend *backend = NULL;
	int r = io && sealer ? 0 : -ENOMEM;

	if (r == 0)
		r = backend_open_dir(&backend, io, dir, err);
	if (r == 0)
		r = backend->ops->create(backend, err);
	if (r == 0)
		r = measure(backend, sealer, entries, lookups, err);
	backend_close(backend);
	sealer_free(sealer);
	io_free(io);
	return r;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: table_bench --entries N [--dir D] [--lookups M]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "entries", required_argument, NULL, 'n' },
		{ "dir", required_argument, NULL, 'd' },
		{ "lookups", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	char path[4096];
	const char *base = "/tmp";
	uint64_t entries = 0, lookups = 200000;
	struct err err = { 0 };
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			entries = strtoull(optarg, NULL, 0);
		else if (c == 'd')
			base = optarg;
		else if (c == 'm')
			lookups = strtoull(optarg, NULL, 0);
		else
			return usage();
	}
	if (entries < 1 || entries > 1ull << 32)
		return usage();
	/* A directory of its own, gone at the end. */
	if (snprintf(path, sizeof(path), "%s/table_bench.XXXXXX", base) >=
		    (int)sizeof(path) ||
	    !mkdtemp(path)) {
		perror("table_bench");
		return 1;
	}
	r = run(path, entries, lookups, &err);
	if (r < 0)
		fprintf(stderr, "table_bench: %s\n", err.text);
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		fprintf(stderr, "table_bench: '%s' stays\n", path);
	return r < 0;
}
