/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map follows layout.h: what lies between RAM and RAM and is a device's is
 * told as reserved only where no table of ACPI describes it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvm-agent/boot/map.h"
#include "kvm-agent/vm/layout.h"

#define PAGE 4096ull

unsigned map_make(const struct memory *memory,
		  struct map_range out[MAP_RANGES_MAX])
{
	uint64_t low = memory->regions[0].size_bytes;
	unsigned count = 0;

	out[count++] = (struct map_range){ 0, LAYOUT_BOOT_END, MAP_RAM };
	out[count++] = (struct map_range){ LAYOUT_BOOT_END,
					   LAYOUT_KERNEL - LAYOUT_BOOT_END,
					   MAP_RESERVED };
	out[count++] = (struct map_range){ LAYOUT_KERNEL, low - LAYOUT_KERNEL,
					   MAP_RAM };
	out[count++] = (struct map_range){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE,
					   MAP_RESERVED };
	out[count++] = (struct map_range){ LAYOUT_KVM_IDENTITY,
					   LAYOUT_KVM_TSS + 3 * PAGE -
						   LAYOUT_KVM_IDENTITY,
					   MAP_RESERVED };
	if (memory->count > 1)
		out[count++] =
			(struct map_range){ memory->regions[1].start,
					    memory->regions[1].size_bytes,
					    MAP_RAM };
	return count;
}

int map_put_initrd(const struct memory *memory, const void *data, size_t size,
		   uint64_t floor, uint64_t limit, uint64_t *out,
		   struct err *err)
{
	uint64_t end = min_u64(memory->regions[0].size_bytes, limit);
	uint64_t start;

	if (size > end || (end - size) / PAGE * PAGE < floor)
		return err_set(err, -ENOSPC,
			       "the initrd of %zu bytes does not fit into the "
			       "guest's RAM behind its kernel: give it more "
			       "--memory",
			       size);
	start = (end - size) / PAGE * PAGE;
	if (memory_write(memory, gpa_make(start), data, size) < 0)
		return err_set(err, -ENOSPC, "no RAM at 0x%" PRIx64, start);
	*out = start;
	return 0;
}
