/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: one mapping cut in two at the hole for devices, so that
 * nothing of it moves when its size changes between machines. Aligned to 2 MiB
 * on both sides, for huge pages. Reserved without commitment: a guest of 64 GiB
 * starts on a host that has them only when it uses them.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "kvm-agent/vm/memory.h"

/* A mapping whose start is aligned, cut out of a larger one. */
static uint8_t *map_aligned(uint64_t size)
{
	uint64_t whole = size + MEMORY_ALIGN;
	uint8_t *map = mmap(NULL, whole, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (map == MAP_FAILED)
		return NULL;
	before = (uint64_t) - (uintptr_t)map & (MEMORY_ALIGN - 1);
	if (before)
		munmap(map, before);
	munmap(map + before + size, MEMORY_ALIGN - before);
	return map + before;
}

int memory_init(struct memory *memory, uint64_t size_bytes, struct err *err)
{
	uint64_t low = min_u64(size_bytes, MEMORY_LOW_END);
	uint8_t *host;

	if (size_bytes < MEMORY_SIZE_MIN || size_bytes > MEMORY_SIZE_MAX ||
	    size_bytes % MEMORY_ALIGN)
		return err_set(err, -EINVAL,
			       "RAM of %" PRIu64
			       " bytes: it must be a multiple "
			       "of 2 MiB, from 2 MiB to 16 TiB",
			       size_bytes);
	host = map_aligned(size_bytes);
	if (!host)
		return err_set(err, -errno,
			       "RAM of %" PRIu64 " bytes: %s: give it less, "
			       "or see what limits memory here (ulimit -v)",
			       size_bytes, strerror(errno));
	/* Both are wishes: a kernel without them runs the guest as well. */
	(void)madvise(host, size_bytes, MADV_HUGEPAGE);
	(void)madvise(host, size_bytes, MADV_DONTDUMP);
	*memory = (struct memory){ .size_bytes = size_bytes, .count = 1 };
	memory->regions[0] = (struct memory_region){ 0, low, host };
	if (size_bytes > low) {
		memory->regions[1] =
			(struct memory_region){ MEMORY_HIGH_START,
						size_bytes - low, host + low };
		memory->count = 2;
	}
	return 0;
}

void memory_release(struct memory *memory)
{
	if (memory->count)
		munmap(memory->regions[0].host, memory->size_bytes);
	*memory = (struct memory){ 0 };
}

int memory_clear(struct memory *memory, struct err *err)
{
	if (madvise(memory->regions[0].host, memory->size_bytes,
		    MADV_DONTNEED) < 0)
		return err_sys(err, -errno, "clear the guest's RAM");
	return 0;
}

void *memory_at(const struct memory *memory, struct gpa at, uint64_t length)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t offset = at.value - region->start;

		if (at.value >= region->start && offset < region->size_bytes)
			return length && length <= region->size_bytes - offset
				       ? region->host + offset
				       : NULL;
	}
	return NULL;
}

int memory_discard(const struct memory *memory, void *at, uint64_t length)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uint8_t *ram = memory->regions[0].host;
	uint8_t *from = at, *end = from + length;

	assert(from >= ram && from <= end && end <= ram + memory->size_bytes);
	from += -(uintptr_t)from & (page - 1);
	if (end - (uintptr_t)end % page <= from)
		return 0;
	end -= (uintptr_t)end % page;
	return madvise(from, (size_t)(end - from), MADV_DONTNEED) < 0 ? -errno
								      : 0;
}

int memory_read(const struct memory *memory, struct gpa at, void *buffer,
		uint64_t length)
{
	const void *from = memory_at(memory, at, length);

	if (!from)
		return length ? -EFAULT : 0;
	memcpy(buffer, from, length);
	return 0;
}

int memory_write(const struct memory *memory, struct gpa at, const void *buffer,
		 uint64_t length)
{
	void *to = memory_at(memory, at, length);

	if (!to)
		return length ? -EFAULT : 0;
	memcpy(to, buffer, length);
	return 0;
}
