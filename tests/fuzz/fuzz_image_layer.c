/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image whose layer is the input: superblock, then pieces that go where the
 * input says (journal, map, clusters), checksums made right. It is opened for
 * reading and for writing, read, checked, repaired; after repair and an open
 * for writing it must be without fault.
 */
#include <stdio.h>

#include "format/image/image_private.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/fixed_random.h"
#include "tests/sim/sim.h"

#define HEAD "/d.vsi"
#define SIZE (8ULL << 20)

struct input {
	const uint8_t *at;
	size_t left;
};

static struct vs_io *io;
static const uint8_t zeros[IMAGE_BLOCK_SIZE];

static void take(struct input *input, void *to, size_t size)
{
	size_t n = size < input->left ? size : input->left;

	memset(to, 0, size);
	memcpy(to, input->at, n);
	input->at += n;
	input->left -= n;
}

static void put(int file, const void *data, size_t size, uint64_t offset)
{
	must(io_write_full(io, file, data, size, offset) == 0);
}

/* What the maker of the image chose stays; the rest is the input's. */
static void put_super(struct input *input, int file, struct layer_super *super)
{
	struct layer_block block, mine;
	uint8_t change[3];
	struct err err;

	must(io_read_full(io, file, &mine, sizeof(mine), 4096) == 0);
	block = mine;
	block.generation = le64_make(9);
	for (unsigned i = 0; i < 8; i++) {
		take(input, change, sizeof(change));
		if (change[2])
			((uint8_t *)&block)[change[0] | (change[1] & 3) << 8] ^=
				change[2];
	}
	fix_sum(&block, offsetof(struct layer_block, check));
	if (layer_super_decode(&block, super, "x", &err) < 0)
		must(layer_super_decode(&mine, super, "x", &err) == 0);
	put(file, &block, sizeof(block), 0);
}

static void put_record(struct input *input, int file,
		       const struct layer_super *super, uint64_t *at,
		       uint64_t *sequence)
{
	struct map_item items[8];
	struct block_check checks[8] = { 0 };
	uint8_t bytes[JOURNAL_RECORD_UNIT];
	struct journal_record record = { .sequence = *sequence,
					 .items = items,
					 .checks = checks };
	uint8_t count, block;

	take(input, &count, 1);
	record.item_count = count % 9;
	record.check_count = count / 9 % 9;
	take(input, items, record.item_count * sizeof(items[0]));
	/* Clusters are zeros, but for these the sum may be wrong too. */
	for (unsigned i = 0; i < record.check_count; i++) {
		take(input, &block, 1);
		checks[i].block = block;
		checks[i].sum = block % 5 ? block_sum(zeros, block) : 0;
	}
	if (*at + sizeof(bytes) > super->journal_length)
		return;
	journal_record_encode(bytes, super->id, &record);
	put(file, bytes, sizeof(bytes), JOURNAL_OFFSET + *at);
	*at += sizeof(bytes);
	*sequence += 1;
}

static void put_sector(struct input *input, int file,
		       const struct layer_super *super)
{
	struct map_sector sector = { 0 };
	uint8_t number, count;

	take(input, &number, 1);
	take(input, &count, 1);
	for (unsigned i = 0; i < count % 16; i++) {
		uint8_t where;

		take(input, &where, 1);
		take(input, &sector.entries[where % MAP_SECTOR_ENTRIES], 8);
	}
	sector.check = le64_make(XXH3_64bits_withSeed(
		sector.entries, sizeof(sector.entries), number));
	if (count & 128)
		sector.check.b[0] ^= 1;
	put(file, &sector, sizeof(sector),
	    super->map_offset + number * sizeof(sector));
}

static void put_layer(struct input *input)
{
	struct layer_super super;
	struct err err;
	int file = io->ops->open(io, HEAD ".1", IO_READ_WRITE, &err);
	uint64_t at, sequence;
	uint8_t clusters;

	must(file >= 0);
	put_super(input, file, &super);
	at = super.position;
	sequence = super.sequence;
	take(input, &clusters, 1);
	must(io->ops->truncate(io, file,
			       super.clusters_offset % (1ULL << 40) +
				       clusters * IMAGE_CLUSTER_SIZE) == 0);
	while (input->left) {
		uint8_t kind;

		take(input, &kind, 1);
		if (kind % 2)
			put_record(input, file, &super, &at, &sequence);
		else
			put_sector(input, file, &super);
	}
	io->ops->close(io, file);
}

static int use(enum image_mode mode)
{
	struct image_options options = { .mode = mode };
	static uint8_t buffer[SIZE / 16];
	struct image_queue *queue;
	struct image *image;
	struct image_info info;
	struct err err;
	uint64_t freed;
	int r = image_open(&image, io, HEAD, &options, &err);

	if (r < 0)
		return r;
	queue = image_queue_new(image, 4, &err);
	must(queue != NULL);
	for (uint64_t at = 0; at < SIZE; at += sizeof(buffer))
		(void)image_read(queue, buffer, sizeof(buffer), at);
	(void)image_get_info(image, &info, &err);
	if (mode == IMAGE_READ_WRITE) {
		(void)image_write(queue, buffer, 8192, 4096);
		(void)image_discard(queue, SIZE / 2, 512);
		(void)image_compact(image, &freed, &err);
		(void)image_resize(image, SIZE / 4, &err);
	}
	image_queue_free(queue);
	(void)image_close(image, &err);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct err err;
	int r;

	image_journal_length = JOURNAL_LENGTH_MIN;
	fixed_random_seed(1);
	io = sim_io(sim_new(1));
	must(image_create(io, HEAD, SIZE, NULL, &err) == 0);
	put_layer(&input);
	(void)use(IMAGE_READ_ONLY);
	r = image_check(io, HEAD, false, NULL, NULL, &err);
	/* Without fault, and not only half made: it can be written to. */
	if (r == 0)
		must(use(IMAGE_READ_WRITE) == 0);
	if (image_check(io, HEAD, true, NULL, NULL, &err) >= 0)
		(void)use(IMAGE_READ_WRITE);
	io_free(io);
	return 0;
}
