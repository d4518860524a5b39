/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest in the test's own code: RAM, buses, PCI, a loop, and a driver of
 * virtio devices that finds its way through the capabilities as a real one
 * does. All on one thread.
 */
#ifndef TESTS_RIG_VIRTIO_GUEST_H
#define TESTS_RIG_VIRTIO_GUEST_H

#include "format/base/le.h"
#include "kvm-agent/virtio/transport.h"
#include "kvm-agent/vm/layout.h"

#define GUEST_RAM      (8 * MIB)
#define GUEST_MESSAGES 32u

struct guest {
	struct memory memory;
	struct bus bus, ports;
	struct pci_bus pci;
	struct loop *loop;
	struct interrupts interrupts;
	struct virtio_host host;
	unsigned messages[GUEST_MESSAGES]; /* by data */
	unsigned message_count;
	unsigned broken; /* devices that stopped */
	uint64_t next_page;
};

int guest_init(struct guest *guest, struct err *err);
/* Devices are released after it, or before. */
void guest_release(struct guest *guest);

/* What is posted and ready is done. */
void guest_settle(struct guest *guest);
/* One more message than `count`, within 20 s. */
bool guest_wait(struct guest *guest, unsigned count);

/* Pages of RAM, zeroed, for ever. */
uint64_t guest_pages(struct guest *guest, unsigned count);
void *guest_at(struct guest *guest, uint64_t address);

struct ring {
	unsigned size;
	uint64_t descriptors, driver, device;
	uint16_t next_descriptor, next_available, next_used;
};

struct driver {
	struct guest *guest;
	unsigned slot;
	uint64_t common, isr, config, notify; /* addresses */
	uint32_t notify_step;
	unsigned msix; /* capability; 0: none found */
	uint64_t table;
	unsigned queue_count;
	uint64_t features;
	struct ring rings[VIRTIO_QUEUES_MAX];
};

uint64_t guest_read(struct guest *guest, uint64_t address, unsigned length);
void guest_write(struct guest *guest, uint64_t address, uint64_t value,
		 unsigned length);
uint64_t driver_config(const struct driver *driver, unsigned offset,
		       unsigned length);

/* Finds the device in `slot`, switches MSI-X on: vector i has data i. */
int driver_find(struct driver *driver, struct guest *guest, unsigned slot);
/* Reset, features (`wanted` of those offered), all queues, DRIVER_OK. -EIO: the
 * device did not take them. */
int driver_start(struct driver *driver, uint64_t wanted);
/* The same where another thread runs the loop. */
int driver_setup(struct driver *driver, uint64_t wanted);
uint8_t driver_status(const struct driver *driver);
void driver_set_status(const struct driver *driver, uint8_t status);

struct piece {
	uint64_t address;
	uint32_t length;
	bool write;
};
/* A chain; its head. Descriptors are taken round the ring. */
uint16_t driver_add(struct driver *driver, unsigned queue,
		    const struct piece *pieces, unsigned count);
/* The same in an indirect table. */
uint16_t driver_add_indirect(struct driver *driver, unsigned queue,
			     const struct piece *pieces, unsigned count);
/* A descriptor as it is said, and a head into the ring. */
void driver_set_descriptor(const struct driver *driver, unsigned queue,
			   unsigned index, uint64_t address, uint32_t length,
			   uint16_t flags, uint16_t next);
void driver_put_head(struct driver *driver, unsigned queue, uint16_t head);
void driver_notify(const struct driver *driver, unsigned queue);
/* Only if the device wants to hear of the one chain added last. */
void driver_notify_wanted(const struct driver *driver, unsigned queue);
/* One that is done: its head, or -1. */
int driver_take(struct driver *driver, unsigned queue, uint32_t *written);
/* Waits for one. */
int driver_wait(struct driver *driver, unsigned queue, uint32_t *written);

#endif
