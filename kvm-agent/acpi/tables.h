/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables in a guest's RAM. */
#ifndef KVM_AGENT_ACPI_TABLES_H
#define KVM_AGENT_ACPI_TABLES_H

#include "kvm-agent/vm/memory.h"

/*
 * All tables, from LAYOUT_ACPI on, RSDP at LAYOUT_RSDP; what else is there
 * (LAYOUT_VMGENID) stays. Before the first vCPU runs, and again after a reset:
 * the guest may have written over them. `cpus` is 1 to LAYOUT_CPUS_MAX.
 * -EINVAL, -EFAULT.
 */
int acpi_write_tables(const struct memory *memory, unsigned cpus,
		      struct err *err);

/* dsdt.asl as iasl has compiled it; made at build time. */
extern const unsigned char acpi_dsdt[];
extern const unsigned acpi_dsdt_size;

#endif
