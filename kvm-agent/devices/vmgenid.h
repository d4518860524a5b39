/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM generation ID: 16 random bytes in the guest's RAM, others after each
 * restore, and an event that says so. A guest whose two clones would give the
 * same random numbers learns by it that it is a clone.
 */
#ifndef KVM_AGENT_DEVICES_VMGENID_H
#define KVM_AGENT_DEVICES_VMGENID_H

#include <pthread.h>

#include "kvm-agent/devices/acpi_pm.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/memory.h"

#define VMGENID_SIZE 16

struct vmgenid {
	struct device device;
	const struct memory *memory;
	struct acpi_pm *pm;
	pthread_mutex_t lock; /* what follows */
	uint8_t id[VMGENID_SIZE];
};

/*
 * A random ID, which vmgenid_publish() writes to LAYOUT_VMGENID. `pm` raises GPE LAYOUT_GPE_VMGENID.
 *
 * restore() does not bring the saved ID back: it takes a new one, writes it to
 * RAM and raises the event. So it comes after the restore of RAM and of `pm`,
 * whose own restore would forget the event.
 */
int vmgenid_init(struct vmgenid *genid, const struct memory *memory,
		 struct acpi_pm *pm, struct err *err);
void vmgenid_release(struct vmgenid *genid);

/* The ID into RAM: before the guest starts, and when RAM was made anew. */
int vmgenid_publish(struct vmgenid *genid, struct err *err);

#endif
