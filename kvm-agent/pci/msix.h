/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function: its table of messages and its pending bits, each on a
 * page of a BAR, and its capability. Any thread; a lock of its own, which is
 * the innermost: it is taken with a bus's or a device's held.
 */
#ifndef KVM_AGENT_PCI_MSIX_H
#define KVM_AGENT_PCI_MSIX_H

#include "kvm-agent/pci/pci.h"
#include "kvm-agent/vm/interrupts.h"

#define MSIX_VECTORS_MAX 128u /* so table and pending bits fit a page each */
#define MSIX_ENTRY_SIZE  16u
#define MSIX_NONE        0xffffu

struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix {
	pthread_mutex_t lock;
	struct interrupts *interrupts;
	unsigned count;
	unsigned capability; /* where it is in configuration space */
	bool enabled;
	bool masked; /* all of it; also while the function is no master */
	struct msix_entry entries[MSIX_VECTORS_MAX];
	uint64_t pending[MSIX_VECTORS_MAX / 64];
};

/* Adds the capability; the table is at `table` of BAR `bar`, the pending bits
 * at `pending`. `count` is 1 to MSIX_VECTORS_MAX. */
void msix_init(struct msix *msix, struct pci_function *function,
	       struct interrupts *interrupts, unsigned count, unsigned bar,
	       uint32_t table, uint32_t pending);
void msix_release(struct msix *msix);

/* From the function's config_written(). */
void msix_config_written(struct msix *msix,
			 const struct pci_function *function);

/* Offsets are within the table, or the pending bits. */
void msix_table_read(struct msix *msix, uint64_t offset, void *data,
		     unsigned length);
void msix_table_write(struct msix *msix, uint64_t offset, const void *data,
		      unsigned length);
void msix_pending_read(struct msix *msix, uint64_t offset, void *data,
		       unsigned length);

/* The message of `vector`, at once or when it may; one that there isn't, or
 * MSI-X that is off: nothing. */
void msix_raise(struct msix *msix, unsigned vector);
bool msix_is_enabled(struct msix *msix);

void msix_reset(struct msix *msix);

struct msix_state {
	struct msix_entry entries[MSIX_VECTORS_MAX];
	uint64_t pending[MSIX_VECTORS_MAX / 64];
};
void msix_save(struct msix *msix, struct state_writer *out);
/* As of pci_function_take() and so on; applied before the configuration. */
void msix_take(const struct msix *msix, struct section_reader *in,
	       struct msix_state *state);
int msix_check(const struct msix *msix, const struct msix_state *state,
	       struct err *err);
void msix_apply(struct msix *msix, const struct msix_state *state);

#endif
