/* SPDX-License-Identifier: Apache-2.0 */
/* See the header. Nothing here is tested; it must be plain. */
#include "tests/rig/table_rig.h"

#include <stdio.h>

#include "format/base/base.h"

#define STORED 116u

const struct store_id rig_store = { "the store of it" };
const uint8_t rig_key[KEY_SIZE] = "a key that nobody should guess.";

static void must(long long r, const struct err *err)
{
	if (r >= 0)
		return;
	fprintf(stderr, "table_rig: %s\n", err->text);
	abort();
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct id rig_id(uint64_t seed, uint64_t n)
{
	struct id id;
	unsigned k;

	for (k = 0; k < 4; k++)
		be64_put(id.b + 8 * k, mix(mix(mix(seed) ^ n) + k));
	return id;
}

struct entry rig_entry(const struct id *id, uint32_t pack, uint32_t n)
{
	struct entry entry;

	entry_make(&entry, id, pack, 80 + n * STORED, STORED, CODEC_RAW, 100,
		   CHUNK_DATA);
	return entry;
}

struct table_pack rig_pack(const struct id *id, uint32_t count)
{
	return (struct table_pack){
		.id = *id,
		.size_bytes = le64_make(80 + (uint64_t)count * STORED +
					PACK_TAIL_SIZE(count)),
		.count = le32_make(count),
	};
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return id_compare(&x->id, &y->id);
}

struct id rig_table(struct backend *backend, struct sealer *sealer,
		    uint64_t seed, uint64_t count, const struct id *replaces)
{
	struct id pack_id = rig_id(seed, UINT64_MAX), id;
	struct table_pack pack = rig_pack(&pack_id, (uint32_t)count);
	autofree struct entry *entries = NULL;
	struct table_writer *writer;
	struct err err = { 0 };
	uint32_t n;

	must(alloc_array(&entries, count, sizeof(*entries), &err), &err);
	for (n = 0; n < count; n++) {
		id = rig_id(seed, n);
		entries[n] = rig_entry(&id, 0, n);
	}
	qsort(entries, count, sizeof(*entries), by_id);
	must(table_writer_open(&writer, backend, &rig_store, rig_key, count,
			       &err),
	     &err);
	must(table_writer_add_pack(writer, &pack, &err), &err);
	if (replaces)
		must(table_writer_add_replaced(writer, replaces, &err), &err);
	for (n = 0; n < count; n++)
		must(table_writer_add(writer, sealer, &entries[n], &err), &err);
	must(table_writer_finish(writer, sealer, &id, &err), &err);
	return id;
}

struct table *rig_open(struct backend *backend, struct sealer *sealer,
		       struct block_cache *cache, const struct id *id,
		       size_t filter_budget_bytes)
{
	const struct table_open how = {
		.backend = backend,
		.cache = cache,
		.store = &rig_store,
		.data_key = rig_key,
		.filter_budget_bytes = filter_budget_bytes,
	};
	struct err err = { 0 };
	struct table *table = NULL;

	must(table_open(&table, &how, sealer, id, &err), &err);
	return table;
}
