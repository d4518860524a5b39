/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/rig/image_rig.h"

#include <errno.h>
#include <string.h>

static struct mem_base *mem_of(struct image_base *base)
{
	return container_of(base, struct mem_base, base);
}

static int mem_read(struct image_base *base, void *buffer, size_t length,
		    uint64_t offset)
{
	struct mem_base *mem = mem_of(base);

	if (offset + length > base->size_bytes)
		abort();
	if (offset < mem->bad_to && offset + length > mem->bad_from)
		return -EIO;
	memcpy(buffer, mem->data + offset, length);
	return 0;
}

static int mem_try_read(struct image_base *base, void *buffer, size_t length,
			uint64_t offset)
{
	/* Every other 64 KiB is not at hand. */
	if (!mem_of(base)->quick || offset / IMAGE_CLUSTER_SIZE % 2)
		return -EAGAIN;
	return mem_read(base, buffer, length, offset);
}

static void mem_close(struct image_base *base)
{
	struct mem_base *mem = mem_of(base);

	if (mem->closed)
		++*mem->closed;
	free(mem->data);
	free(mem);
}

struct image_base *mem_base_new(const void *data, uint64_t size_bytes)
{
	struct mem_base *mem = calloc(1, sizeof(*mem));

	if (!mem)
		abort();
	mem->data = malloc(size_bytes);
	if (!mem->data)
		abort();
	memcpy(mem->data, data, size_bytes);
	mem->quick = true;
	mem->base = (struct image_base){
		.size_bytes = size_bytes,
		.read = mem_read,
		.try_read = mem_try_read,
		.close = mem_close,
	};
	return &mem->base;
}

void mem_base_info(struct image_base_info *info, uint64_t size_bytes)
{
	memset(info, 0, sizeof(*info));
	info->present = true;
	memset(info->store_id, 1, sizeof(info->store_id));
	memset(info->root, 2, sizeof(info->root));
	info->chunk_log2 = 16;
	info->size_bytes = size_bytes;
	memcpy(info->disk, "vda", 4);
	memcpy(info->store, "/store", 7);
}

void pattern_fill(void *buffer, size_t length, uint64_t offset, uint64_t mark)
{
	uint64_t word;

	for (size_t i = 0; i + 8 <= length; i += 8) {
		word = (mark << 40) ^ (offset + i) ^ 0x5a00000000000000ULL;
		memcpy((uint8_t *)buffer + i, &word, 8);
	}
}
