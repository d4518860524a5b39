/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of head and layer. spec/image.md; private to format/image. */
#ifndef FORMAT_IMAGE_LAYOUT_H
#define FORMAT_IMAGE_LAYOUT_H

#include <assert.h>

#include "format/base/le.h"
#include "format/image/image.h"

#define IMAGE_VERSION         1u
#define IMAGE_SUPERBLOCK_SIZE 4096u
#define IMAGE_HEAD_SIZE       8192u
#define IMAGE_LAYERS_MAX      65536u
#define IMAGE_UNITS_MAX       (1ULL << 30) /* of 64 KiB */
#define IMAGE_FLAG_BASE       1u
#define IMAGE_FLAG_SEALED     1u

#define JOURNAL_OFFSET        8192u
#define JOURNAL_LENGTH_MIN    65536u
#define JOURNAL_LENGTH_MAX    (64u << 20)
#define JOURNAL_ITEMS_MAX     4000u
#define JOURNAL_CHECKS_MAX    64u
#define JOURNAL_RECORD_UNIT   512u

#define MAP_SECTOR_SIZE       512u
#define MAP_SECTOR_ENTRIES    63u
#define MAP_SECTORS           17043522ULL

#define BLOCKS_PER_UNIT       16u
#define ENTRY_CLUSTER_MASK    ((1ULL << 48) - 1)
#define ENTRY_ZEROS           (0xffffULL << 48) /* all blocks, cluster 0 */

/* 64 KiB of the volume is a unit; its entry says where the blocks are. */
static inline uint64_t entry_make(uint64_t cluster, unsigned mask)
{
	return cluster | (uint64_t)mask << 48;
}

static inline uint64_t entry_cluster(uint64_t entry)
{
	return entry & ENTRY_CLUSTER_MASK;
}

static inline unsigned entry_mask(uint64_t entry)
{
	return (unsigned)(entry >> 48);
}

struct head_block {
	uint8_t magic[8];
	le32 version;
	le32 incompat;
	le32 compat;
	le32 flags;
	le64 generation;
	uint8_t id[16];
	le64 size_bytes;
	le64 first_layer;
	le64 last_known;
	uint8_t base_store_id[16];
	uint8_t base_root[32];
	le32 base_chunk_log2;
	le32 reserved1;
	le64 base_size_bytes;
	uint8_t base_snapshot[32];
	uint8_t base_pin[16];
	char base_disk[136];
	char base_store[1024];
	uint8_t reserved2[2744];
	le64 check;
};
static_assert(sizeof(struct head_block) == IMAGE_SUPERBLOCK_SIZE,
	      "spec/image.md, Head");

struct layer_block {
	uint8_t magic[8];
	le32 version;
	le32 incompat;
	le32 compat;
	le32 flags;
	le64 generation;
	uint8_t image_id[16];
	uint8_t id[16];
	uint8_t parent[16];
	le64 number;
	le64 size_bytes;
	le64 journal_offset;
	le64 journal_length;
	le64 map_offset;
	le64 map_sectors;
	le64 clusters_offset;
	le64 sequence;
	le64 position;
	le64 max_cluster;
	uint8_t reserved[3928];
	le64 check;
};
static_assert(sizeof(struct layer_block) == IMAGE_SUPERBLOCK_SIZE,
	      "spec/image.md, Layer");

struct map_sector {
	le64 entries[MAP_SECTOR_ENTRIES];
	le64 check;
};
static_assert(sizeof(struct map_sector) == MAP_SECTOR_SIZE,
	      "spec/image.md, Map");

struct journal_item {
	le64 unit;
	le64 entry;
};

struct journal_check {
	le64 block;
	le64 sum;
};

struct journal_head {
	uint8_t magic[4];
	le16 items;
	le16 checks;
	le64 sequence;
	uint8_t layer[16];
};
static_assert(sizeof(struct journal_head) == 32, "spec/image.md, Journal");

/* ---- superblocks as values ---- */

struct head {
	uint8_t id[16];
	uint64_t generation;
	unsigned slot; /* where this one stands: 0 or 1 */
	uint64_t size_bytes;
	uint64_t first_layer;
	uint64_t last_known;
	struct image_base_info base;
};

void head_encode(const struct head *head, struct head_block *block);
/* `name` for words. -EBADMSG, -EOPNOTSUPP. */
int head_decode(const struct head_block *block, struct head *out,
		const char *name, struct err *err);
/* The newer of the two good ones. */
int head_pick(const struct head_block blocks[2], struct head *out,
	      const char *name, struct err *err);
int head_read(struct vs_io *io, int file, const char *name, struct head *out,
	      struct err *err);
/* To the other slot, one generation on, synced; *head changes on success. */
int head_write(struct vs_io *io, int file, const char *name, struct head *head,
	       struct err *err);

struct layer_super {
	uint8_t image_id[16];
	uint8_t id[16];
	uint8_t parent[16];
	uint64_t generation;
	unsigned slot;
	bool sealed;
	uint64_t number;
	uint64_t size_bytes;
	uint64_t journal_length;
	uint64_t map_offset;
	uint64_t clusters_offset;
	uint64_t sequence;
	uint64_t position;
	uint64_t max_cluster;
};

void layer_super_encode(const struct layer_super *super,
			struct layer_block *block);
int layer_super_decode(const struct layer_block *block, struct layer_super *out,
		       const char *name, struct err *err);
int layer_super_pick(const struct layer_block blocks[2],
		     struct layer_super *out, const char *name,
		     struct err *err);
/* `what` stays as it is: the layout that a new layer gets. */
void layer_super_layout(struct layer_super *super, uint64_t journal_length);

/* Byte in the layer's file where cluster number `cluster` begins. */
static inline uint64_t layer_cluster_at(const struct layer_super *super,
					uint64_t cluster)
{
	return super->clusters_offset + (cluster - 1) * IMAGE_CLUSTER_SIZE;
}

/* The same of a block, as block_check counts them. */
static inline uint64_t layer_block_at(const struct layer_super *super,
				      uint64_t block)
{
	return super->clusters_offset +
	       (block - BLOCKS_PER_UNIT) * IMAGE_BLOCK_SIZE;
}

/* How many clusters fit before 2^62. */
#define IMAGE_CLUSTERS_MAX (1ULL << 45)

/* ---- map sectors ---- */

void map_sector_encode(const uint64_t *entries, uint64_t number,
		       struct map_sector *out);
/* False: checksum or an entry that can't be; max_cluster as the layer has. */
bool map_sector_decode(const struct map_sector *sector, uint64_t number,
		       uint64_t max_cluster, uint64_t *entries);
bool entry_is_valid(uint64_t entry, uint64_t max_cluster);

/* ---- journal records ---- */

struct map_item {
	uint64_t unit;
	uint64_t entry;
};

/* What a block of the layer's file holds when the record counts. */
struct block_check {
	uint64_t block; /* 16 times the cluster's number, and 0 to 15 */
	uint64_t sum;
};

/* The caller's arrays; a reader's have room for the most there may be. */
struct journal_record {
	uint64_t sequence;
	unsigned item_count, check_count;
	struct map_item *items;
	struct block_check *checks;
};

/* Bytes of a record with so many. */
size_t journal_record_size(unsigned items, unsigned checks);
/* Into `out`, which has room for that. */
void journal_record_encode(void *out, const uint8_t layer[16],
			   const struct journal_record *record);
/*
 * The record at the start of `data`, of which `size` bytes are there. Bytes
 * that it takes, or 0: none that is whole and has record->sequence. The checks
 * are read, not made.
 */
size_t journal_record_decode(const void *data, size_t size,
			     const uint8_t layer[16],
			     struct journal_record *record);
/* Of IMAGE_BLOCK_SIZE bytes of that block. */
uint64_t block_sum(const void *data, uint64_t block);

#endif
