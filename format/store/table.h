/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table: an immutable sorted index over packs. spec/store.md, Table.
 * Blocks are read from the backend through a shared bounded cache; fences and
 * packs are held in memory; the filter where the caller's budget allows.
 */
#ifndef FORMAT_STORE_TABLE_H
#define FORMAT_STORE_TABLE_H

#include "format/store/pack.h"

#define TABLE_BLOCK_SIZE    4096u
#define TABLE_BLOCK_ENTRIES 85u
#define TABLE_FENCE_STRIDE  16u

/* As it lies in the packs section. */
struct table_pack {
	struct id id;
	le64 size_bytes;
	le32 count;
	le32 reserved;
};
static_assert(sizeof(struct table_pack) == 48, "spec/store.md, Table");

void table_name(char name[OBJECT_NAME_MAX], const struct id *table);

struct block_cache;
/* Decrypted blocks of all tables, at most `bytes` of them. Thread safe. */
struct block_cache *block_cache_new(size_t bytes, struct err *err);
void block_cache_free(struct block_cache *cache);

struct table; /* read-only once open; any thread, each with its own sealer */

struct table_open {
	struct backend *backend;
	struct block_cache *cache;
	const struct store_id *store;
	const uint8_t *data_key;
	size_t filter_budget_bytes; /* a larger filter stays on disk, unused */
};

int table_open(struct table **out, const struct table_open *how,
	       struct sealer *sealer, const struct id *id, struct err *err);
void table_close(struct table *table);

const struct id *table_id(const struct table *table);
uint64_t table_entries(const struct table *table);
size_t table_filter_bytes(const struct table *table); /* held in memory */
uint32_t table_pack_count(const struct table *table);
const struct table_pack *table_pack(const struct table *table, uint32_t n);
size_t table_replaces(const struct table *table, const struct id **ids);

/* 1 and *out, 0 absent, or -errno. */
int table_find(struct table *table, struct sealer *sealer, const struct id *id,
	       struct entry *out, struct err *err);

/* All entries in order; reads ahead past the cache, holds one buffer. */
struct table_stream;
int table_stream_open(struct table_stream **out, struct table *table,
		      struct err *err);
/* 1 and *out, 0 at the end, or -errno (order is checked). */
int table_stream_next(struct table_stream *stream, struct sealer *sealer,
		      struct entry *out, struct err *err);
void table_stream_close(struct table_stream *stream);

/* Every rule of the spec; words name the first breach. */
int table_check(struct table *table, struct sealer *sealer, struct err *err);

/*
 * Writes a table; entries come in ascending order of id and their number is
 * an upper bound given ahead (it sizes the filter). Memory: filter + fences.
 */
struct table_writer;
int table_writer_open(struct table_writer **out, struct backend *backend,
		      const struct store_id *store, const uint8_t *data_key,
		      uint64_t entries_max, struct err *err);
/* Returns the pack's number. */
int64_t table_writer_add_pack(struct table_writer *writer,
			      const struct table_pack *pack, struct err *err);
int table_writer_add_replaced(struct table_writer *writer,
			      const struct id *table, struct err *err);
int table_writer_add(struct table_writer *writer, struct sealer *sealer,
		     const struct entry *entry, struct err *err);
/* Durable after this. Frees the writer in any case. */
int table_writer_finish(struct table_writer *writer, struct sealer *sealer,
			struct id *id, struct err *err);
void table_writer_abort(struct table_writer *writer);

#endif
