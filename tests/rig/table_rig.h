/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up ids, entries, packs and tables for tests; aborts on failure. */
#ifndef TESTS_RIG_TABLE_RIG_H
#define TESTS_RIG_TABLE_RIG_H

#include "format/store/table.h"

extern const struct store_id rig_store;
extern const uint8_t rig_key[KEY_SIZE];

/* Uniform and reproducible: a hash of (seed, n). */
struct id rig_id(uint64_t seed, uint64_t n);
/* Raw content of 100 bytes at place `n` of a pack. */
struct entry rig_entry(const struct id *id, uint32_t pack, uint32_t n);
/* What a pack of `count` such chunks is. */
struct table_pack rig_pack(const struct id *id, uint32_t count);

/* Ids (seed, 0..count), in one pack of that many; returns the table's id.
 * `replaces` may be NULL. The pack's id is rig_id(seed, UINT64_MAX). */
struct id rig_table(struct backend *backend, struct sealer *sealer,
		    uint64_t seed, uint64_t count, const struct id *replaces);
struct table *rig_open(struct backend *backend, struct sealer *sealer,
		       struct block_cache *cache, const struct id *id,
		       size_t filter_budget_bytes);

#endif
