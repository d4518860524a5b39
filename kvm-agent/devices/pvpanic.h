/* SPDX-License-Identifier: Apache-2.0 */
/* One port where a guest's kernel says that it gave up. */
#ifndef KVM_AGENT_DEVICES_PVPANIC_H
#define KVM_AGENT_DEVICES_PVPANIC_H

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/events.h"

struct pvpanic {
	struct device device;
	struct guest_events *events;
};

/* The port LAYOUT_PVPANIC, one byte. */
extern const struct bus_ops pvpanic_port;

void pvpanic_init(struct pvpanic *panic, struct guest_events *events);

#endif
