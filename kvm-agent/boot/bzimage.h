/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel as Linux' bzImage, started by its 64-bit boot protocol: in long mode
 * over an identity map, with the zero page in RSI.
 */
#ifndef KVM_AGENT_BOOT_BZIMAGE_H
#define KVM_AGENT_BOOT_BZIMAGE_H

#include <linux/kvm.h>

#include "kvm-agent/boot/map.h"

struct bzimage {
	uint64_t file_offset; /* of what is loaded, to the file's end */
	uint64_t file_bytes;
	uint64_t memory_bytes; /* what it needs from its start on */
	uint64_t wanted;       /* where it would lie */
	uint64_t align;        /* elsewhere, in steps of this; 0: nowhere */
	uint64_t initrd_limit; /* an initrd ends at or below it */
	uint32_t cmdline_max;  /* without the NUL */
};

/* Has the boot sector's signature and the header's? */
bool bzimage_is_one(const void *data, size_t size);

/* Hostile bytes. Pure. -ENOEXEC: no kernel that we can start, and why. */
int bzimage_parse(const void *data, size_t size, struct bzimage *out,
		  struct err *err);
/* Puts it where it wants to be, or lower if RAM ends before that; `start` is
 * where. `data` is what was parsed. -ENOSPC. */
int bzimage_load(const struct memory *memory, const void *data,
		 const struct bzimage *image, uint64_t *start, struct err *err);

struct bzimage_info {
	const char *cmdline;
	uint64_t initrd, initrd_size; /* guest-physical; size 0: none */
	uint64_t rsdp;                /* 0: none */
};

/* Zero page, command line, page tables and descriptors. -E2BIG: the command
 * line. */
int bzimage_tell(const struct memory *memory, const void *data,
		 const struct bzimage *image, const struct bzimage_info *info,
		 struct err *err);
/* Of the first processor, from a fresh one's; `start` as loaded. */
void bzimage_set_registers(uint64_t start, struct kvm_regs *regs,
			   struct kvm_sregs *sregs);

#endif
