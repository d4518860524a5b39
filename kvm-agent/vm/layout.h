/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of the machine: which address, port and wire belongs to whom. Only
 * numbers; the ACPI tables are compiled from them (dsdt.asl includes this file
 * through the preprocessor, so nothing but #define may stand outside the
 * guard below), and a saved machine relies on them: never change one.
 */
#ifndef KVM_AGENT_VM_LAYOUT_H
#define KVM_AGENT_VM_LAYOUT_H

/*
 * Low memory. RAM covers all of it; the guest is told that 0x9f000 to 1 MiB is
 * not for it. What boots a kernel writes below LAYOUT_BOOT_END, and the guest
 * may use that again once it runs.
 */
#define LAYOUT_GDT          0x500   /* 4 entries of 8 bytes */
#define LAYOUT_PVH_INFO     0x6000  /* start info, modules, memory map */
#define LAYOUT_ZERO_PAGE    0x7000  /* Linux' struct boot_params, 4 KiB */
#define LAYOUT_BOOT_STACK   0x8ff0  /* grows down */
#define LAYOUT_PAGE_TABLES  0x9000  /* identity map: 6 pages */
#define LAYOUT_COMMAND_LINE 0x20000 /* 64 KiB at most, with its NUL */
#define LAYOUT_BOOT_END     0x9f000
#define LAYOUT_ACPI         0xe0000 /* reserved: tables to 1 MiB */
#define LAYOUT_ACPI_SIZE    0x20000
#define LAYOUT_RSDP         0xe0000  /* on its own page */
#define LAYOUT_ACPI_WINDOW  0xe0800  /* what DSDT reads: window64 below */
#define LAYOUT_VMGENID      0xe1000  /* 16 bytes, on its own page */
#define LAYOUT_ACPI_TABLES  0xe2000  /* FACS, DSDT, FADT, ... XSDT */
#define LAYOUT_KERNEL       0x100000 /* where RAM is the guest's again */

/* RAM ends at 3 GiB (memory.h) and goes on at 4 GiB; between them: */
#define LAYOUT_ECAM          0xc0000000 /* PCI configuration, bus 0 only */
#define LAYOUT_ECAM_SIZE     0x00100000
#define LAYOUT_WINDOW32      0xd0000000 /* BARs below 4 GiB */
#define LAYOUT_WINDOW32_SIZE 0x2c000000
#define LAYOUT_WINDOW32_LAST 0xfbffffff
#define LAYOUT_IOAPIC        0xfec00000 /* KVM's */
#define LAYOUT_LAPIC         0xfee00000 /* KVM's; messages go here */
/* Three pages that KVM on Intel takes for itself, and one for its page table
 * (KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR). */
#define LAYOUT_KVM_TSS      0xfffbd000
#define LAYOUT_KVM_IDENTITY 0xfffbc000
/*
 * BARs of 64 bits: from the next multiple of 32 GiB behind RAM, 32 GiB: see
 * layout_window64(). Machines of up to 28 GiB fit into 36 bits of addresses.
 */
#define LAYOUT_WINDOW64_ALIGN 0x800000000
#define LAYOUT_WINDOW64_SIZE  0x800000000
#define LAYOUT_WINDOW64_LAST  0x7ffffffff /* of its size, from 0 */

/* Ports: first, and how many. PIC, PIT and 0x61 are KVM's. */
#define LAYOUT_I8042_DATA      0x60
#define LAYOUT_I8042_COMMAND   0x64
#define LAYOUT_RTC             0x70
#define LAYOUT_RTC_SIZE        2
#define LAYOUT_COM1            0x3f8
#define LAYOUT_COM1_SIZE       8
#define LAYOUT_PVPANIC         0x505
#define LAYOUT_PM              0x600 /* ACPI's block, as offsets: */
#define LAYOUT_PM_SIZE         0x30
#define LAYOUT_PM1_EVENT       0x00 /* status, enable: 2 and 2 */
#define LAYOUT_PM1_CONTROL     0x04 /* 2 */
#define LAYOUT_PM_TIMER        0x08 /* 4 */
#define LAYOUT_PM_RESET        0x0c /* 1 */
#define LAYOUT_PM_GPE0         0x20 /* status, enable: 2 and 2 */
#define LAYOUT_PCI_CONFIG      0xcf8
#define LAYOUT_PCI_CONFIG_SIZE 8
/* BARs of I/O ports: none of our devices has one. */
#define LAYOUT_PORT_WINDOW      0x1000
#define LAYOUT_PORT_WINDOW_SIZE 0xf000
#define LAYOUT_PORT_WINDOW_LAST 0xffff

#define LAYOUT_PM_RESET_VALUE   1 /* written to the reset register */
#define LAYOUT_S5_TYPE          5 /* SLP_TYP of power off */

/* Wires, as GSIs: struct interrupts' line(). The IOAPIC has 24. */
#define LAYOUT_IRQ_PIT   0
#define LAYOUT_IRQ_COM1  4
#define LAYOUT_IRQ_RTC   8
#define LAYOUT_IRQ_SCI   9  /* ACPI; level, active high */
#define LAYOUT_IRQ_PCI   16 /* INTx: 16 + (slot + pin) % 4, A is 0; level */
#define LAYOUT_IRQ_COUNT 24
/* GSI 0 goes to pin 2 of the IOAPIC, and pin 0 of the PIC: MADT says so, and
 * the routes that KVM is given must. All others go to the pin of their number.
 */
#define LAYOUT_PIT_PIN 2

/* Bits of GPE 0. */
#define LAYOUT_GPE_VMGENID 0

#define LAYOUT_CPUS_MAX    64 /* APIC ids 0, 1, ... in their order */

#ifndef LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/memory.h"

/* Where BARs of 64 bits go in a machine with so much RAM. */
static inline uint64_t layout_window64(uint64_t ram_size_bytes)
{
	uint64_t end = MEMORY_HIGH_START;

	if (ram_size_bytes > MEMORY_LOW_END)
		end += ram_size_bytes - MEMORY_LOW_END;
	return div_up(end, LAYOUT_WINDOW64_ALIGN) * LAYOUT_WINDOW64_ALIGN;
}
#endif

#endif
