/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One root bus of PCI: a host bridge in slot 0, and functions behind it, seen
 * through ECAM and through the ports 0xcf8 and 0xcfc.
 *
 * We are the firmware: each BAR has an address in the window below 4 GiB from
 * the start; the guest may move it within the two windows. All is put together
 * before a vCPU runs. Then any thread may call what is marked so.
 *
 * Lock order: a bus's lock, then a device's own. A device never calls in here
 * with its lock held, but for pci_function_command().
 */
#ifndef KVM_AGENT_PCI_PCI_H
#define KVM_AGENT_PCI_PCI_H

#include <pthread.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/device.h"

#define PCI_SLOTS        32u
#define PCI_BARS         3u /* each of 64 bits: BAR 0, 2 and 4 */
#define PCI_CONFIG_SIZE  256u
#define PCI_BAR_SIZE_MIN 4096u

/* Places in configuration space, and bits there. */
#define PCI_COMMAND        0x04u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u
#define PCI_BAR_0          0x10u
#define PCI_CAPABILITIES   0x34u

struct pci_function;

struct pci_function_ops {
	/* An access to BAR `bar` (0 to PCI_BARS - 1), as bus_ops say. Any
	 * thread, without the bus's lock. */
	void (*bar_read)(struct pci_function *function, unsigned bar,
			 uint64_t offset, void *data, unsigned length);
	void (*bar_write)(struct pci_function *function, unsigned bar,
			  uint64_t offset, const void *data, unsigned length);
	/* With the bus's lock held, each may be NULL: bytes of config[] are
	 * about to be read; have been written, as far as the guest may; the
	 * BAR is at `address` from now on, or no longer. */
	void (*config_read)(struct pci_function *function, unsigned offset,
			    unsigned length);
	void (*config_written)(struct pci_function *function, unsigned offset,
			       unsigned length);
	void (*bar_mapped)(struct pci_function *function, unsigned bar,
			   uint64_t address);
	void (*bar_unmapped)(struct pci_function *function, unsigned bar,
			     uint64_t address);
};

struct pci_bar {
	struct pci_function *function;
	uint64_t size; /* 0: there is none */
	uint64_t initial;
	uint64_t mapped; /* where it is on the bus; 0: nowhere */
};

struct pci_bus;

struct pci_function {
	const struct pci_function_ops *ops;
	struct pci_bus *bus;
	unsigned slot;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t initial[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
	unsigned capabilities_end;
	unsigned last_capability;
	uint32_t command; /* a copy, atomic: read without the bus's lock */
	struct pci_bar bars[PCI_BARS];
};

struct pci_ids {
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem;
	uint32_t class; /* base, sub, interface: 0x010000 */
	uint8_t revision;
};

struct pci_bus {
	struct device device;
	pthread_mutex_t lock; /* of all below, and each function's */
	struct bus *memory, *ports;
	uint64_t window64; /* where the window above RAM begins */
	uint64_t next_bar;
	uint32_t address; /* 0xcf8 */
	struct pci_function *functions[PCI_SLOTS];
	struct pci_function bridge;
};

/* `window64` as layout_window64() says. The buses outlive it. */
int pci_bus_init(struct pci_bus *bus, struct bus *memory, struct bus *ports,
		 uint64_t window64, struct err *err);
/* No function is called any more, and no vCPU runs. */
void pci_bus_release(struct pci_bus *bus);

/* ---- putting a function together, before it is attached ---- */

void pci_function_init(struct pci_function *function,
		       const struct pci_function_ops *ops,
		       const struct pci_ids *ids);
/* A power of two, PCI_BAR_SIZE_MIN to 16 MiB. */
void pci_function_add_bar(struct pci_function *function, unsigned bar,
			  uint64_t size);
/*
 * `length` bytes with id and link in front, which are filled in; `writable`
 * has a mask for each of them, or is NULL. Returns the place in configuration
 * space. One that doesn't fit is a bug of ours.
 */
unsigned pci_function_add_capability(struct pci_function *function, uint8_t id,
				     const void *bytes, const void *writable,
				     unsigned length);
/* Into the next free slot; -ENOSPC. Its BARs get their addresses. */
int pci_bus_attach(struct pci_bus *bus, struct pci_function *function,
		   struct err *err);
/* No vCPU runs. One whose bus is gone is left alone. */
void pci_bus_detach(struct pci_function *function);

/* ---- any thread ---- */

/* Of slot `slot`, function 0; what isn't there reads as ones. */
void pci_config_read(struct pci_bus *bus, unsigned slot, unsigned offset,
		     void *data, unsigned length);
void pci_config_write(struct pci_bus *bus, unsigned slot, unsigned offset,
		      const void *data, unsigned length);

/* PCI_COMMAND as it is now; also with a device's lock held. */
uint16_t pci_function_command(const struct pci_function *function);

/* ---- the function's part of its device ---- */

/* Configuration space and BARs as after power-on. */
void pci_function_reset(struct pci_function *function);

struct pci_function_state {
	uint8_t config[PCI_CONFIG_SIZE];
};
/* Within the device's save and restore: take, then check, then apply. */
void pci_function_save(struct pci_function *function, struct state_writer *out);
void pci_function_take(struct section_reader *in,
		       struct pci_function_state *state);
/* -EBADMSG: it is of another function, or of one that differs. */
int pci_function_check(const struct pci_function *function,
		       const struct pci_function_state *state, struct err *err);
void pci_function_apply(struct pci_function *function,
			const struct pci_function_state *state);

#endif
