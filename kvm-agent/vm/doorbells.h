/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of a guest that the kernel turns into an eventfd, without an exit. */
#ifndef KVM_AGENT_VM_DOORBELLS_H
#define KVM_AGENT_VM_DOORBELLS_H

#include <stdint.h>

#include "format/base/err.h"

/* Any thread, also with a lock of PCI's held: neither calls back. */
struct doorbells {
	/* Two bytes written at `address`, whatever they are, make `fd`
	 * readable from now on. Where that fails the write reaches the bus,
	 * as any other: nothing is lost but time. */
	int (*add)(struct doorbells *doorbells, uint64_t address, int fd,
		   struct err *err);
	void (*remove)(struct doorbells *doorbells, uint64_t address, int fd);
};

#endif
