/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every way to boot a kernel needs: the map of memory that the guest is
 * told, and the place of an initial RAM disk.
 */
#ifndef KVM_AGENT_BOOT_MAP_H
#define KVM_AGENT_BOOT_MAP_H

#include "kvm-agent/vm/memory.h"

/* As in E820 and in PVH's map. */
enum map_kind {
	MAP_RAM = 1,
	MAP_RESERVED = 2,
};

struct map_range {
	uint64_t start;
	uint64_t size_bytes;
	enum map_kind kind;
};

#define MAP_RANGES_MAX 8u

/* In the order of addresses; returns how many. Pure. */
unsigned map_make(const struct memory *memory,
		  struct map_range out[MAP_RANGES_MAX]);

/*
 * Copies an initial RAM disk as high as it fits below `limit`, and not below
 * `floor`, where the kernel ends. -ENOSPC: the guest has too little RAM.
 */
int map_put_initrd(const struct memory *memory, const void *data, size_t size,
		   uint64_t floor, uint64_t limit, uint64_t *out,
		   struct err *err);

#endif
