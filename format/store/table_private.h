/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the table code share; for table_*.c, index*.c, tests. */
#ifndef FORMAT_STORE_TABLE_PRIVATE_H
#define FORMAT_STORE_TABLE_PRIVATE_H

#include "format/store/block_cache.h"

#define TABLE_PIECE_SIZE   65536u
#define TABLE_ENTRIES_MAX  (1ull << 32)
#define TABLE_PACKS_MAX    (1ull << 24)
#define TABLE_REPLACES_MAX 65536ull
#define TABLE_FILTER_BLOCK 32u
#define TABLE_FILTER_BITS  10u /* an entry */
/* What 2^32 entries ask for. */
#define TABLE_FILTER_BLOCKS_MAX (TABLE_ENTRIES_MAX * 10 / 256)
#define TABLE_AAD_MAX           (sizeof(struct object_header) + OBJECT_NAME_MAX)

enum table_section_kind {
	SECTION_FENCES,
	SECTION_PACKS,
	SECTION_REPLACES,
	SECTION_FILTER,
};
#define SECTION_COUNT 4

/* spec/store.md, Footer. */
struct table_footer {
	le64 entries;
	le64 blocks;
	struct {
		le64 offset;
		le64 count;
	} sections[SECTION_COUNT];
	uint8_t reserved[48];
};
static_assert(sizeof(struct table_footer) == 128, "spec/store.md, Footer");

struct table_section {
	uint64_t offset;
	uint64_t count;
	uint64_t size; /* of the plaintext, in bytes */
};

struct filter_block {
	uint32_t words[8];
};
static_assert(sizeof(struct filter_block) == TABLE_FILTER_BLOCK, "Filter");

struct table {
	struct backend *backend;
	struct block_cache *cache;
	uint64_t number; /* of this opening, for the cache */
	struct id id;
	char name[OBJECT_NAME_MAX];
	struct object_key key;
	struct object_header header;
	uint64_t size_bytes;
	uint64_t entries, blocks;
	struct table_section sections[SECTION_COUNT];
	le64 *fences;
	struct table_pack *packs;
	struct id *replaces;
	struct filter_block *filter; /* NULL: not in memory */
};

/* How wide one element of a section is. */
size_t table_section_width(enum table_section_kind kind);
/* What `size` bytes of a section take on disk. */
static inline uint64_t table_sealed_size(uint64_t size)
{
	uint64_t pieces =
		size / TABLE_PIECE_SIZE + (size % TABLE_PIECE_SIZE != 0);

	return size + pieces * SEAL_TAG_SIZE;
}

static inline uint64_t table_block_offset(uint64_t block)
{
	return TABLE_BLOCK_SIZE * (block + 1);
}

/* Header and name: what a footer is sealed with. Returns the size. */
size_t table_footer_aad(const struct object_header *header, const char *name,
			uint8_t aad[TABLE_AAD_MAX]);

/* `from` is a multiple of the piece size; reads and opens [from, from + size)
 * of a section's plaintext. */
int table_section_read(const struct table *table, struct sealer *sealer,
		       enum table_section_kind kind, uint64_t from, void *out,
		       uint64_t size, struct err *err);
/* Bring the filter into memory. */
int table_load_filter(struct table *table, struct sealer *sealer,
		      struct err *err);
/* What the filter would take in memory. */
size_t table_filter_size(const struct table *table);

/* Decrypt `count` blocks from `first` on in place; `sealed` becomes as many
 * struct table_block, 4080 bytes each, at the start of each 4096. */
int table_read_blocks(const struct table *table, struct sealer *sealer,
		      uint64_t first, unsigned count, uint8_t *sealed,
		      struct err *err);
/* How many entries stand in a block. */
unsigned table_block_fill(const struct table *table, uint64_t block);
/* NULL, or what is wrong with an entry in the light of its table. */
const char *table_entry_wrong(const struct table *table,
			      const struct entry *entry);

/* The filter. `blocks` is how many it has in all; may be asked of a part
 * (`first` on). */
uint64_t filter_blocks_for(uint64_t entries);
uint64_t filter_block_of(const struct id *id, uint64_t blocks);
void filter_block_add(struct filter_block *block, const struct id *id);
bool filter_block_has(const struct filter_block *block, const struct id *id);

#endif
