/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tables: the calls behind struct block_cache (table.h). */
#ifndef FORMAT_STORE_BLOCK_CACHE_H
#define FORMAT_STORE_BLOCK_CACHE_H

#include "format/store/table.h"

/* A table's blocks as they are kept: plaintext. */
struct table_block {
	struct entry entries[TABLE_BLOCK_ENTRIES];
};
static_assert(sizeof(struct table_block) + SEAL_TAG_SIZE == TABLE_BLOCK_SIZE,
	      "spec/store.md, Block");

/* A copy, so that no reader holds what another may evict. */
bool block_cache_get(struct block_cache *cache, uint64_t table, uint64_t block,
		     struct table_block *out);
void block_cache_put(struct block_cache *cache, uint64_t table, uint64_t block,
		     const struct table_block *data);

#endif
