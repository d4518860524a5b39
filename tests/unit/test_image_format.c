/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an image: the worked examples of spec/image.md against the
 * code, and what the readers refuse. `test_image_format --print` writes the
 * dumps for the page, in which lines of zeros are left out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/image/layout.h"

#define SIZE (1ULL << 30)

static char *page;

static void fill(void *data, size_t size, unsigned from)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)(from + i);
}

static void put(struct bytes *out, const void *data, size_t size)
{
	assert_int_equal(bytes_append(out, data, size, NULL), 0);
}

static struct head example_head(void)
{
	struct head head = { .generation = 2,
			     .size_bytes = SIZE,
			     .first_layer = 1,
			     .last_known = 2 };

	fill(head.id, sizeof(head.id), 0x10);
	head.base.present = true;
	fill(head.base.store_id, 16, 0x20);
	fill(head.base.root, 32, 0x30);
	head.base.chunk_log2 = 16;
	head.base.size_bytes = SIZE / 2;
	fill(head.base.snapshot, 32, 0x50);
	fill(head.base.pin, 16, 0x70);
	memcpy(head.base.disk, "vda", 3);
	memcpy(head.base.store, "/srv/store", 10);
	return head;
}

static struct layer_super example_layer(void)
{
	struct layer_super super = { .generation = 3,
				     .number = 2,
				     .size_bytes = SIZE,
				     .sequence = 7,
				     .position = 1024,
				     .max_cluster = 5 };

	fill(super.image_id, 16, 0x10);
	fill(super.id, 16, 0x80);
	fill(super.parent, 16, 0x90);
	layer_super_layout(&super, 2 << 20);
	return super;
}

static void make_head(struct bytes *out)
{
	struct head head = example_head();
	struct head_block block;

	head_encode(&head, &block);
	put(out, &block, sizeof(block));
}

static void make_layer(struct bytes *out)
{
	struct layer_super super = example_layer();
	struct layer_block block;

	layer_super_encode(&super, &block);
	put(out, &block, sizeof(block));
}

/* Units 63 to 125: one whole, one with blocks 0 and 3, one discarded. */
static void example_entries(uint64_t entries[MAP_SECTOR_ENTRIES])
{
	memset(entries, 0, MAP_SECTOR_ENTRIES * sizeof(*entries));
	entries[0] = entry_make(1, 0xffff);
	entries[1] = entry_make(2, 0x0009);
	entries[3] = ENTRY_ZEROS;
}

static void make_sector(struct bytes *out)
{
	uint64_t entries[MAP_SECTOR_ENTRIES];
	struct map_sector sector;

	example_entries(entries);
	map_sector_encode(entries, 1, &sector);
	put(out, &sector, sizeof(sector));
}

static struct map_item example_items[] = {
	{ 63, 0xffff000000000001 },
	{ 1000, 0x0001000000000005 },
};

static void make_record(struct bytes *out)
{
	struct layer_super super = example_layer();
	struct journal_record record = { .sequence = 7,
					 .item_count = 2,
					 .items = example_items };
	uint8_t bytes[JOURNAL_RECORD_UNIT];

	assert_int_equal(journal_record_size(2, 0), sizeof(bytes));
	journal_record_encode(bytes, super.id, &record);
	put(out, bytes, sizeof(bytes));
}

/* Block 1 of the unit is new, its bytes are all 0xaa. */
static void make_checked(struct bytes *out)
{
	struct layer_super super = example_layer();
	struct map_item item = { 1000, 0x0003000000000005 };
	struct block_check check = { 5 * BLOCKS_PER_UNIT + 1, 0 };
	struct journal_record record = { .sequence = 8,
					 .item_count = 1,
					 .check_count = 1,
					 .items = &item,
					 .checks = &check };
	uint8_t bytes[JOURNAL_RECORD_UNIT], data[IMAGE_BLOCK_SIZE];

	memset(data, 0xaa, sizeof(data));
	check.sum = block_sum(data, check.block);
	journal_record_encode(bytes, super.id, &record);
	put(out, bytes, sizeof(bytes));
}

static void make_empty(struct bytes *out)
{
	struct layer_super super = example_layer();
	struct journal_record record = { .sequence = 9 };
	uint8_t bytes[JOURNAL_RECORD_UNIT];

	journal_record_encode(bytes, super.id, &record);
	put(out, bytes, sizeof(bytes));
}

static const struct example {
	const char *name;
	void (*make)(struct bytes *out);
} examples[] = {
	{ "head superblock", make_head },
	{ "layer superblock", make_layer },
	{ "map sector 1", make_sector },
	{ "journal record", make_record },
	{ "journal record with a check", make_checked },
	{ "empty journal record", make_empty },
};

static void print_examples(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		struct bytes made = { 0 };

		examples[i].make(&made);
		printf("\n### Example: %s\n\n", examples[i].name);
		for (size_t at = 0; at < made.size; at += 16) {
			if (bytes_are_zero(made.data + at, 16))
				continue;
			printf("    %04zx ", at);
			for (size_t k = 0; k < 16; k++)
				printf("%s%02x", k % 8 ? " " : "  ",
				       made.data[at + k]);
			printf("\n");
		}
		bytes_release(&made);
	}
}

/* The dump under this heading into `size` zeros. */
static void read_dump(const char *name, uint8_t *out, size_t size)
{
	const char *line;
	char heading[80];
	unsigned at;

	memset(out, 0, size);
	snprintf(heading, sizeof(heading), "\n### Example: %s\n", name);
	line = strstr(page, heading);
	if (!line)
		fail_msg("spec/image.md has no example '%s'", name);
	line += strlen(heading);
	for (; *line && *line != '#'; line = strchr(line, '\n') + 1) {
		int skip = 0;

		if (sscanf(line, "    %4x%n", &at, &skip) != 1)
			continue;
		assert_true(at + 16 <= size);
		line += skip;
		for (unsigned k = 0; k < 16; k++) {
			line += strspn(line, " ");
			assert_int_equal(hex_decode(out + at + k, 1, line, 2),
					 0);
			line += 2;
		}
	}
}

static void test_examples(void **state)
{
	size_t headings = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		struct bytes made = { 0 };
		uint8_t *written;

		examples[i].make(&made);
		written = malloc(made.size);
		assert_non_null(written);
		read_dump(examples[i].name, written, made.size);
		assert_memory_equal(made.data, written, made.size);
		free(written);
		bytes_release(&made);
	}
	for (const char *at = page; (at = strstr(at, "\n### Example: ")); at++)
		headings++;
	assert_int_equal(headings, ARRAY_SIZE(examples));
}

static void fix_sum(void *block)
{
	le64 sum = le64_make(XXH3_64bits(block, 4088));

	memcpy((uint8_t *)block + 4088, &sum, sizeof(sum));
}

static int try_head(const struct head_block *block)
{
	struct head head;

	return head_decode(block, &head, "x", NULL);
}

/* One field changed, the checksum right: what comes of it. */
static int changed_head(size_t offset, uint64_t value, size_t size)
{
	struct head head = example_head();
	struct head_block block;

	head_encode(&head, &block);
	memcpy((uint8_t *)&block + offset, &value, size);
	fix_sum(&block);
	return try_head(&block);
}

static void test_head(void **state)
{
	struct head head = example_head(), back;
	struct head_block blocks[2];

	(void)state;
	head_encode(&head, &blocks[0]);
	assert_int_equal(head_decode(&blocks[0], &back, "x", NULL), 0);
	assert_memory_equal(&back.base, &head.base, sizeof(head.base));
	assert_int_equal(back.size_bytes, SIZE);
	for (size_t i = 0; i < sizeof(blocks[0]); i++) {
		((uint8_t *)blocks)[i] ^= 4;
		assert_true(try_head(&blocks[0]) < 0);
		((uint8_t *)blocks)[i] ^= 4;
	}
	assert_int_equal(changed_head(8, 2, 4), -EOPNOTSUPP);
	assert_int_equal(changed_head(12, 1, 4), -EOPNOTSUPP);
	assert_int_equal(changed_head(16, 1, 4), 0); /* compat */
	assert_int_equal(changed_head(20, 3, 4), -EBADMSG);
	assert_int_equal(changed_head(20, 0, 4), -EBADMSG);
	assert_int_equal(changed_head(48, 0, 8), -EBADMSG);
	assert_int_equal(changed_head(48, 100, 8), -EBADMSG);
	assert_int_equal(changed_head(48, IMAGE_SIZE_MAX + 512, 8), -EBADMSG);
	assert_int_equal(changed_head(56, 0, 8), -EBADMSG);
	assert_int_equal(changed_head(56, 3, 8), -EBADMSG);
	assert_int_equal(changed_head(64, 65537, 8), -EBADMSG);
	assert_int_equal(changed_head(120, 13, 4), -EBADMSG);
	assert_int_equal(changed_head(120, 23, 4), -EBADMSG);
	assert_int_equal(changed_head(124, 1, 4), -EBADMSG);
	assert_int_equal(changed_head(128, IMAGE_SIZE_MAX + 1, 8), -EBADMSG);
	assert_int_equal(changed_head(319, 'x', 1), -EBADMSG);
	assert_int_equal(changed_head(1343, 'x', 1), -EBADMSG);
	assert_int_equal(changed_head(4000, 1, 1), -EBADMSG);

	/* The newer of those that are good. */
	blocks[1] = blocks[0];
	head.generation = 9;
	head.size_bytes = 512;
	head_encode(&head, &blocks[1]);
	assert_int_equal(head_pick(blocks, &back, "x", NULL), 0);
	assert_int_equal(back.size_bytes, 512);
	assert_int_equal(back.slot, 1);
	blocks[1].check.b[0] ^= 1;
	assert_int_equal(head_pick(blocks, &back, "x", NULL), 0);
	assert_int_equal(back.size_bytes, SIZE);
	blocks[0].check.b[0] ^= 1;
	assert_int_equal(head_pick(blocks, &back, "x", NULL), -EBADMSG);
}

static int changed_layer(size_t offset, uint64_t value, size_t size)
{
	struct layer_super super = example_layer();
	struct layer_block block;

	layer_super_encode(&super, &block);
	memcpy((uint8_t *)&block + offset, &value, size);
	fix_sum(&block);
	return layer_super_decode(&block, &super, "x", NULL);
}

static void test_layer(void **state)
{
	struct layer_super super = example_layer(), back;
	struct layer_block block;

	(void)state;
	layer_super_encode(&super, &block);
	assert_int_equal(layer_super_decode(&block, &back, "x", NULL), 0);
	layer_super_encode(&back, &block);
	assert_int_equal(back.max_cluster, 5);
	for (size_t i = 0; i < sizeof(block); i++) {
		((uint8_t *)&block)[i] ^= 32;
		assert_true(layer_super_decode(&block, &back, "x", NULL) < 0);
		((uint8_t *)&block)[i] ^= 32;
	}
	assert_int_equal(changed_layer(8, 2, 4), -EOPNOTSUPP);
	assert_int_equal(changed_layer(12, 1, 4), -EOPNOTSUPP);
	assert_int_equal(changed_layer(20, 2, 4), -EBADMSG);
	assert_int_equal(changed_layer(80, 0, 8), -EBADMSG);
	assert_int_equal(changed_layer(88, 511, 8), -EBADMSG);
	assert_int_equal(changed_layer(96, 4096, 8), -EBADMSG);
	assert_int_equal(changed_layer(104, 4096, 8), -EBADMSG);
	assert_int_equal(changed_layer(104, 128 << 20, 8), -EBADMSG);
	assert_int_equal(changed_layer(112, 8192, 8), -EBADMSG);
	assert_int_equal(changed_layer(120, 1, 8), -EBADMSG);
	assert_int_equal(changed_layer(128, 65536, 8), -EBADMSG);
	assert_int_equal(changed_layer(128, UINT64_MAX - 65535, 8), -EBADMSG);
	assert_int_equal(changed_layer(136, 0, 8), -EBADMSG);
	assert_int_equal(changed_layer(144, 100, 8), -EBADMSG);
	assert_int_equal(changed_layer(144, 4 << 20, 8), -EBADMSG);
	assert_int_equal(changed_layer(152, UINT64_MAX, 8), -EBADMSG);
	assert_int_equal(changed_layer(3000, 1, 1), -EBADMSG);
}

static void test_sector(void **state)
{
	uint64_t entries[MAP_SECTOR_ENTRIES], back[MAP_SECTOR_ENTRIES];
	struct map_sector sector, zero = { 0 };

	(void)state;
	example_entries(entries);
	map_sector_encode(entries, 1, &sector);
	assert_true(map_sector_decode(&sector, 1, 2, back));
	assert_memory_equal(back, entries, sizeof(entries));
	/* Of another place; of a cluster that is not there. */
	assert_false(map_sector_decode(&sector, 2, 2, back));
	assert_false(map_sector_decode(&sector, 1, 1, back));
	sector.entries[40].b[3] ^= 1;
	assert_false(map_sector_decode(&sector, 1, UINT64_MAX, back));
	assert_true(map_sector_decode(&zero, 77, 0, back));
	assert_true(bytes_are_zero(back, sizeof(back)));
	/* A write that is not done does not show. */
	memset(entries, 0, sizeof(entries));
	entries[5] = entry_make(4, 0);
	map_sector_encode(entries, 1, &sector);
	assert_memory_equal(&sector, &zero, sizeof(zero));
}

static struct map_item found_items[JOURNAL_ITEMS_MAX];
static struct block_check found_checks[JOURNAL_CHECKS_MAX];

/* What of it is read as number `sequence` of that layer. */
static size_t decode(const struct bytes *bytes, size_t size,
		     const uint8_t layer[16], uint64_t sequence,
		     struct journal_record *found)
{
	*found = (struct journal_record){ .sequence = sequence,
					  .items = found_items,
					  .checks = found_checks };
	return journal_record_decode(bytes->data, size, layer, found);
}

static void test_record(void **state)
{
	struct layer_super super = example_layer();
	struct journal_record found;
	struct bytes bytes = { 0 };

	(void)state;
	make_record(&bytes);
	assert_int_equal(decode(&bytes, bytes.size, super.id, 7, &found),
			 JOURNAL_RECORD_UNIT);
	assert_int_equal(found.item_count, 2);
	assert_int_equal(found.check_count, 0);
	assert_memory_equal(found_items, example_items, sizeof(example_items));
	assert_int_equal(decode(&bytes, bytes.size, super.id, 8, &found), 0);
	assert_int_equal(decode(&bytes, bytes.size, super.parent, 7, &found),
			 0);
	assert_int_equal(decode(&bytes, 511, super.id, 7, &found), 0);
	for (size_t i = 0; i < bytes.size; i++) {
		bytes.data[i] ^= 1;
		assert_int_equal(
			decode(&bytes, bytes.size, super.id, 7, &found), 0);
		bytes.data[i] ^= 1;
	}
	assert_int_equal(journal_record_size(0, 0), 512);
	assert_int_equal(journal_record_size(29, 0), 512);
	assert_int_equal(journal_record_size(28, 1), 512);
	assert_int_equal(journal_record_size(29, 1), 1024);
	assert_int_equal(journal_record_size(4000, 0), 64512);
	assert_int_equal(journal_record_size(4000, 64), JOURNAL_LENGTH_MIN);
	bytes_release(&bytes);
}

static void fix_record(struct bytes *bytes, uint64_t sequence)
{
	le64 sum = le64_make(
		XXH3_64bits_withSeed(bytes->data, bytes->size - 8, sequence));

	memcpy(bytes->data + bytes->size - 8, &sum, sizeof(sum));
}

static void test_checks(void **state)
{
	struct layer_super super = example_layer();
	struct journal_record found;
	uint8_t data[IMAGE_BLOCK_SIZE];
	struct bytes bytes = { 0 };

	(void)state;
	make_checked(&bytes);
	assert_int_equal(decode(&bytes, bytes.size, super.id, 8, &found), 512);
	assert_int_equal(found.item_count, 1);
	assert_int_equal(found.check_count, 1);
	assert_int_equal(found_checks[0].block, 81);
	memset(data, 0xaa, sizeof(data));
	assert_int_equal(found_checks[0].sum,
			 XXH3_64bits_withSeed(data, sizeof(data), 81));
	/* More than there may be, in bytes that are all there. */
	bytes_release(&bytes);
	make_checked(&bytes);
	bytes.data[6] = JOURNAL_CHECKS_MAX + 1;
	for (unsigned i = 0; i < 3; i++)
		make_empty(&bytes);
	memset(bytes.data + 64, 0, bytes.size - 64);
	bytes.size = journal_record_size(1, JOURNAL_CHECKS_MAX + 1);
	fix_record(&bytes, 8);
	assert_int_equal(decode(&bytes, bytes.size, super.id, 8, &found), 0);
	bytes.data[6] = JOURNAL_CHECKS_MAX;
	bytes.size = journal_record_size(1, JOURNAL_CHECKS_MAX);
	fix_record(&bytes, 8);
	assert_int_equal(decode(&bytes, bytes.size, super.id, 8, &found),
			 bytes.size);
	assert_int_equal(found.check_count, JOURNAL_CHECKS_MAX);
	bytes_release(&bytes);
}

static void read_page(void)
{
	const char *top = getenv("TOP");
	char path[512];
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "%s/spec/image.md", top ? top : ".");
	file = fopen(path, "r");
	if (!file) {
		fprintf(stderr, "can't open %s\n", path);
		exit(1);
	}
	page = calloc(1, 1 << 18);
	if (!page)
		exit(1);
	size = fread(page, 1, (1 << 18) - 1, file);
	page[size] = 0;
	fclose(file);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples), cmocka_unit_test(test_head),
		cmocka_unit_test(test_layer),    cmocka_unit_test(test_sector),
		cmocka_unit_test(test_record),   cmocka_unit_test(test_checks),
	};
	int r;

	if (argc > 1 && !strcmp(argv[1], "--print")) {
		print_examples();
		return 0;
	}
	read_page();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(page);
	return r;
}
