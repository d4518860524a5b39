/* SPDX-License-Identifier: Apache-2.0 */
/* Where a device's interrupts go: into KVM, or into a test's record. */
#ifndef KVM_AGENT_VM_INTERRUPTS_H
#define KVM_AGENT_VM_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

/* Any thread, also with a device's lock held: neither calls back. */
struct interrupts {
	/* The wire `gsi` of PIC and IOAPIC. */
	void (*line)(struct interrupts *interrupts, unsigned gsi, bool level);
	/* A message: an address in the LAPICs' window, and its data. */
	void (*message)(struct interrupts *interrupts, uint64_t address,
			uint32_t data);
};

static inline void interrupts_line(struct interrupts *interrupts, unsigned gsi,
				   bool level)
{
	interrupts->line(interrupts, gsi, level);
}

static inline void interrupts_message(struct interrupts *interrupts,
				      uint64_t address, uint32_t data)
{
	interrupts->message(interrupts, address, data);
}

#endif
