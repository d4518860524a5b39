/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel that is an ELF file with a PVH note: Linux' vmlinux, and the small
 * guests of the tests. It starts in 32-bit mode with a pointer to what it is
 * told: memory map, command line, one initrd, ACPI's root.
 */
#ifndef KVM_AGENT_BOOT_PVH_H
#define KVM_AGENT_BOOT_PVH_H

#include <linux/kvm.h>

#include "kvm-agent/boot/map.h"

#define PVH_SEGMENTS_MAX 32u
#define PVH_CMDLINE_MAX  4095u

struct pvh_segment {
	uint64_t address; /* guest-physical */
	uint64_t memory_bytes;
	uint64_t file_offset;
	uint64_t file_bytes; /* the rest is zero */
};

struct pvh_image {
	uint32_t entry; /* guest-physical */
	uint64_t end;   /* of its last segment */
	unsigned count;
	struct pvh_segment segments[PVH_SEGMENTS_MAX];
};

/* Starts like an ELF file? */
bool pvh_is_elf(const void *data, size_t size);

/* Hostile bytes. Pure. -ENOEXEC: no kernel that we can start, and why. */
int pvh_parse(const void *data, size_t size, struct pvh_image *out,
	      struct err *err);
/* `data` is what was parsed. -ENOSPC: the guest has too little RAM. */
int pvh_load(const struct memory *memory, const void *data,
	     const struct pvh_image *image, struct err *err);

struct pvh_info {
	const char *cmdline;
	uint64_t initrd, initrd_size; /* guest-physical; size 0: none */
	uint64_t rsdp;                /* 0: none */
};

/* What the kernel is told, at LAYOUT_PVH_INFO and LAYOUT_COMMAND_LINE.
 * -E2BIG: the command line. */
int pvh_tell(const struct memory *memory, const struct pvh_info *info,
	     struct err *err);
/* Of the first processor, from a fresh one's. */
void pvh_set_registers(const struct pvh_image *image, struct kvm_regs *regs,
		       struct kvm_sregs *sregs);

#endif
