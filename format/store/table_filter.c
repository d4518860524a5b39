/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split-block Bloom filter: one cache line answers "absent" for most ids
 * that are. spec/store.md, Filter. Ids are keyed hashes already, so their
 * bytes are taken as they are; the bytes used here are not those that sort.
 */
#include "format/store/table_private.h"

#include "format/base/base.h"

static const uint32_t salts[8] = {
	0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
	0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31,
};

uint64_t filter_blocks_for(uint64_t entries)
{
	return div_up(entries * TABLE_FILTER_BITS, 8 * TABLE_FILTER_BLOCK);
}

uint64_t filter_block_of(const struct id *id, uint64_t blocks)
{
	uint64_t h;

	memcpy(&h, id->b + 8, sizeof(h));
	return (uint64_t)((unsigned __int128)h * blocks >> 64);
}

static uint32_t filter_key(const struct id *id)
{
	uint32_t k;

	memcpy(&k, id->b + 16, sizeof(k));
	return k;
}

void filter_block_add(struct filter_block *block, const struct id *id)
{
	uint32_t k = filter_key(id);
	unsigned n;

	for (n = 0; n < 8; n++)
		block->words[n] |= 1u << (k * salts[n] >> 27);
}

bool filter_block_has(const struct filter_block *block, const struct id *id)
{
	uint32_t k = filter_key(id), missing = 0;
	unsigned n;

	for (n = 0; n < 8; n++)
		missing |= ~block->words[n] & 1u << (k * salts[n] >> 27);
	return !missing;
}
