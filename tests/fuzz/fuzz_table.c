/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole table: the bytes as they are; and cut into the plaintexts of a table
 * whose layout, seals and sums are right.
 * Input: le16 entries, u8 packs, u8 replaces, le16 filter blocks; then the
 * entries, fences, packs, replaces, filter; what is missing is zero.
 */
#include "format/store/table_private.h"
#include "tests/fuzz/table_walk.h"

static const struct id id = { "a table for fuzzers to chew on.." };

static void take(struct reader *reader, void *out, size_t size)
{
	size_t have = min_u64(size, reader->left);

	memset(out, 0, size);
	memcpy(out, reader_take(reader, have), have);
}

static void put_blocks(struct forge *forge, struct reader *reader,
		       uint64_t entries)
{
	while (entries) {
		size_t fill = min_u64(entries, TABLE_BLOCK_ENTRIES);
		struct table_block block;

		memset(&block, 0, sizeof(block));
		take(reader, block.entries, fill * sizeof(struct entry));
		forge_seal(forge, &block, sizeof(block), false);
		entries -= fill;
	}
}

static void put_table(struct forge *forge, struct reader *reader)
{
	struct {
		uint8_t entries[2], packs, replaces, filter[2];
	} counts;
	static uint8_t section[1 << 17];
	uint64_t count[SECTION_COUNT], entries, blocks;
	struct table_footer footer = { 0 };
	unsigned n;

	take(reader, &counts, sizeof(counts));
	entries = (counts.entries[0] | counts.entries[1] << 8) & 0xfff;
	blocks = div_up(entries, TABLE_BLOCK_ENTRIES);
	count[SECTION_FENCES] = div_up(blocks, TABLE_FENCE_STRIDE);
	count[SECTION_PACKS] = counts.packs;
	count[SECTION_REPLACES] = counts.replaces;
	count[SECTION_FILTER] =
		(counts.filter[0] | counts.filter[1] << 8) & 0xfff;

	forge_zeros(forge, TABLE_BLOCK_SIZE - sizeof(forge->header));
	put_blocks(forge, reader, entries);
	footer.entries = le64_make(entries);
	footer.blocks = le64_make(blocks);
	for (n = 0; n < SECTION_COUNT; n++) {
		size_t size = count[n] * table_section_width(n);

		footer.sections[n].offset = le64_make(forge->object.size);
		footer.sections[n].count = le64_make(count[n]);
		must(size <= sizeof(section));
		take(reader, section, size);
		forge_section(forge, section, size);
	}
	forge_seal(forge, &footer, sizeof(footer), true);
	forge_trailer(forge, 0, sizeof(footer) + SEAL_TAG_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct backend *backend;
	static struct forge forge;
	struct reader reader = { data, size };

	if (!backend)
		backend = mem_backend_new();
	forge_begin(&forge, OBJECT_TABLE, &id);
	table_try(backend, &forge, &id, data, size);
	put_table(&forge, &reader);
	table_try(backend, &forge, &id, forge.object.data, forge.object.size);
	return 0;
}
