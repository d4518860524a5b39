/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed hardware of ACPI: event and control block, PM timer, reset
 * register, general-purpose events, and the wire of the SCI. ACPI mode is on
 * from the start: there is no SMI that would turn it on.
 */
#ifndef KVM_AGENT_DEVICES_ACPI_PM_H
#define KVM_AGENT_DEVICES_ACPI_PM_H

#include <pthread.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/clock.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/events.h"
#include "kvm-agent/vm/interrupts.h"

#define ACPI_PM_TIMER_HZ 3579545ULL

struct acpi_pm {
	struct device device;
	struct guest_events *events;
	struct interrupts *interrupts;
	struct clock *clock;
	struct timer timer; /* the PM timer's status bit, where it is enabled */
	pthread_mutex_t lock; /* what follows; held while the wire is set */
	uint16_t status, enable, control;
	uint16_t gpe_status, gpe_enable;
	int64_t zero_ns; /* of the clock, when the PM timer was 0 */
	uint64_t half;   /* how often its top bit had changed, as noted */
	bool level;      /* of the wire */
};

/* LAYOUT_PM, LAYOUT_PM_SIZE. */
extern const struct bus_ops acpi_pm_ports;

/* With `loop` before it runs, or NULL in a test. */
int acpi_pm_init(struct acpi_pm *pm, struct loop *loop, struct clock *clock,
		 struct interrupts *interrupts, struct guest_events *events,
		 struct err *err);
void acpi_pm_release(struct acpi_pm *pm);

/* Somebody pushed the power button. Any thread. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* GPE `bit`, of LAYOUT_GPE_*, happened. Any thread. */
void acpi_pm_raise(struct acpi_pm *pm, unsigned bit);

#endif
