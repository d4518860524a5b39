/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel into RAM, whatever its kind; the one place that lists the kinds. */
#ifndef KVM_AGENT_BOOT_BOOT_H
#define KVM_AGENT_BOOT_BOOT_H

#include "kvm-agent/boot/bzimage.h"
#include "kvm-agent/boot/pvh.h"

struct boot_source {
	const void *kernel;
	size_t kernel_size;
	const void *initrd; /* NULL: none */
	size_t initrd_size;
	const char *cmdline;
	uint64_t rsdp; /* ACPI's root in the guest's memory; 0: none */
};

enum boot_protocol {
	BOOT_PVH,
	BOOT_LINUX_64,
};

/* What the first processor starts with. */
struct boot_start {
	enum boot_protocol protocol;
	struct pvh_image pvh;
	uint64_t linux_start; /* guest-physical */
};

/* Writes to RAM. -ENOEXEC, -ENOSPC, -E2BIG with words. */
int boot_load(const struct memory *memory, const struct boot_source *source,
	      struct boot_start *out, struct err *err);
void boot_set_registers(const struct boot_start *start, struct kvm_regs *regs,
			struct kvm_sregs *sregs);

#endif
