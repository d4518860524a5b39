/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asks of its machine or tells it, through one device or another:
 * to the machine, or into a test's record. */
#ifndef KVM_AGENT_VM_EVENTS_H
#define KVM_AGENT_VM_EVENTS_H

enum guest_event {
	GUEST_RESET,        /* asks for a reset */
	GUEST_POWER_OFF,    /* asks for power off */
	GUEST_PANICKED,     /* its kernel gave up */
	GUEST_CRASH_LOADED, /* its crash kernel takes over */
};

/* Any thread, also with a device's lock held: it only notes what was asked and
 * does not call back. The vCPU that asked runs on until it is stopped. */
struct guest_events {
	void (*tell)(struct guest_events *events, enum guest_event event);
};

static inline void guest_events_tell(struct guest_events *events,
				     enum guest_event event)
{
	events->tell(events, event);
}

#endif
