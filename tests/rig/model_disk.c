/* SPDX-License-Identifier: Apache-2.0 */
/* Disks of a test: made and changed by a seed, written sparse, compared. */
#include "tests/rig/model_disk.h"

#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim.h"

#define BLOCK 4096u
#define PIECE (64u << 10)

static void *model_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		abort();
	return p;
}

static void fill(struct model_disk *disk, uint64_t from, uint64_t length,
		 uint64_t *random)
{
	uint64_t kind = sim_random(random, 5);
	uint64_t word = sim_random(random, 1u << 30);
	uint64_t state = kind == 3 ? sim_random(random, 4) : word;

	length = min_u64(length, disk->size - from);
	for (uint64_t i = 0; i < length; i++) {
		uint8_t byte = 0;

		if (kind == 1) { /* compresses well */
			byte = (uint8_t)(word >> (i % 4 * 8));
		} else if (kind >= 2) { /* noise; of kind 3 it comes again */
			state = state * 6364136223846793005ULL + 1442695041;
			byte = (uint8_t)(state >> 40);
		}
		disk->data[from + i] = byte;
	}
}

static uint64_t pick_size(uint64_t *random)
{
	static const unsigned most[] = { 1,         1 << 14,   1 << 16,
					 200 << 10, 200 << 10, MODEL_DISK_MAX };
	uint64_t size = sim_random(
		random, most[sim_random(random, ARRAY_SIZE(most))] + 1ULL);

	/* Half of them as disks are: whole sectors. */
	return sim_random(random, 2) ? size / 512 * 512 : size;
}

void model_disk_make(struct model_disk *disk, uint64_t *random)
{
	model_disk_release(disk);
	disk->size = pick_size(random);
	disk->data = model_alloc(disk->size);
	for (uint64_t at = 0; at < disk->size;) {
		uint64_t length = (1 + sim_random(random, 6)) * (BLOCK << 2);

		fill(disk, at, length, random);
		at += length;
	}
}

static void resize(struct model_disk *disk, uint64_t *random)
{
	uint64_t size = pick_size(random);
	uint8_t *data = model_alloc(size);

	if (disk->data && size)
		memcpy(data, disk->data, min_u64(size, disk->size));
	free(disk->data);
	disk->data = data;
	disk->size = size;
}

void model_disk_change(struct model_disk *disk, uint64_t *random)
{
	if (!sim_random(random, 8))
		resize(disk, random);
	for (uint64_t n = sim_random(random, 6); n > 0 && disk->size; n--)
		fill(disk, sim_random(random, disk->size),
		     1 + sim_random(random, 1ULL << (4 + n * 2)), random);
}

struct model_disk model_disk_copy(const struct model_disk *disk)
{
	struct model_disk copy = { .size = disk->size };

	copy.data = model_alloc(disk->size);
	if (disk->size)
		memcpy(copy.data, disk->data, disk->size);
	return copy;
}

void model_disk_release(struct model_disk *disk)
{
	free(disk->data);
	memset(disk, 0, sizeof(*disk));
}

uint64_t model_disk_data_bytes(const struct model_disk *disk,
			       uint64_t chunk_size)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < disk->size; at += chunk_size) {
		uint64_t length = min_u64(chunk_size, disk->size - at);

		if (!bytes_are_zero(disk->data + at, length))
			sum += length;
	}
	return sum;
}

/* The next run of blocks to be written: [*at, end). */
static uint64_t run_of_data(const struct model_disk *disk, uint64_t *at,
			    uint64_t *random)
{
	uint64_t end;

	while (*at < disk->size &&
	       bytes_are_zero(disk->data + *at,
			      min_u64(BLOCK, disk->size - *at)) &&
	       sim_random(random, 8))
		*at += BLOCK;
	for (end = *at; end < disk->size && end - *at < PIECE; end += BLOCK) {
		if (bytes_are_zero(disk->data + end,
				   min_u64(BLOCK, disk->size - end)))
			break;
	}
	if (end == *at)
		end += BLOCK;
	return min_u64(end, disk->size);
}

int model_disk_write(const struct model_disk *disk, struct vs_io *io,
		     const char *path, uint64_t *random)
{
	int file = io->ops->open(io, path, IO_READ_WRITE | IO_CREATE, NULL);
	int r;

	if (file < 0)
		return file;
	r = io->ops->truncate(io, file, 0);
	if (!r)
		r = io->ops->truncate(io, file, disk->size);
	for (uint64_t at = 0, end; !r && at < disk->size; at = end) {
		end = run_of_data(disk, &at, random);
		if (at < end)
			r = io_write_full(io, file, disk->data + at, end - at,
					  at);
	}
	if (!r)
		r = io->ops->sync(io, file);
	io->ops->close(io, file);
	return r;
}

int model_disk_compare(const struct model_disk *disk, struct vs_io *io,
		       const char *path)
{
	int file = io->ops->open(io, path, IO_READ_ONLY, NULL);
	static uint8_t piece[PIECE];
	struct io_stat st;
	bool same;
	int r;

	if (file < 0)
		return file;
	r = io->ops->fstat(io, file, &st, NULL);
	same = !r && st.size_bytes == disk->size;
	for (uint64_t at = 0; !r && same && at < disk->size; at += PIECE) {
		size_t length = (size_t)min_u64(PIECE, disk->size - at);

		r = io_read_full(io, file, piece, length, at);
		same = !r && !memcmp(piece, disk->data + at, length);
	}
	io->ops->close(io, file);
	return r ? r : same;
}
