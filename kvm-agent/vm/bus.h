/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers at which address: one bus for ports, one for memory-mapped I/O.
 *
 * Any vCPU's thread reads and writes, at once; what is behind a range has a
 * lock of its own. Ranges come and go under running vCPUs (a guest moves a
 * BAR), also from within a device's read or write: no lock is held there. So a
 * device outlives its bus: a call that began before its range went may still
 * be on its way after that.
 */
#ifndef KVM_AGENT_VM_BUS_H
#define KVM_AGENT_VM_BUS_H

#include <pthread.h>

#include "format/base/base.h"

#define BUS_RANGES_MAX 256u

/*
 * `offset` is in the range, and so is offset + length - 1: an access that runs
 * over the end of its range goes nowhere. `length` is 1 to 8, not always a power
 * of two. `data` is in the guest's byte order, little-endian. A device must
 * answer for any offset and any length.
 */
struct bus_ops {
	void (*read)(void *device, uint64_t offset, void *data,
		     unsigned length);
	void (*write)(void *device, uint64_t offset, const void *data,
		      unsigned length);
};

struct bus_range {
	uint64_t start;
	uint64_t length;
	const struct bus_ops *ops;
	void *device;
};

struct bus {
	pthread_rwlock_t lock;
	uint64_t end; /* addresses below it */
	unsigned count;
	struct bus_range ranges[BUS_RANGES_MAX]; /* by start */
};

#define BUS_PORTS_END  0x10000ULL
#define BUS_MEMORY_END (1ULL << 52)

int bus_init(struct bus *bus, uint64_t end, struct err *err);
void bus_release(struct bus *bus);

/* -EEXIST: overlaps another. -ENOSPC. -EINVAL: leaves the bus. */
int bus_add(struct bus *bus, uint64_t start, uint64_t length,
	    const struct bus_ops *ops, void *device, struct err *err);
/* A range that was added; one that wasn't is left alone. */
void bus_remove(struct bus *bus, uint64_t start);

/* Nobody there: all ones are read, and writes are dropped. True if somebody
 * was. */
bool bus_read(struct bus *bus, uint64_t address, void *data, unsigned length);
bool bus_write(struct bus *bus, uint64_t address, const void *data,
	       unsigned length);

#endif
