/* SPDX-License-Identifier: Apache-2.0 */
/* The PS/2 controller of a PC, with nothing plugged in: a guest resets the
 * machine through it. */
#ifndef KVM_AGENT_DEVICES_I8042_H
#define KVM_AGENT_DEVICES_I8042_H

#include <pthread.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/events.h"

struct i8042 {
	struct device device;
	struct guest_events *events;
	pthread_mutex_t lock; /* what follows */
	uint8_t config;
	uint8_t outputs; /* bit 0: the CPUs' reset, low is active */
	uint8_t command; /* waits for its data; 0: none does */
	uint8_t answer;
	bool full; /* the answer was not read yet */
};

/* LAYOUT_I8042_DATA and LAYOUT_I8042_COMMAND, one byte each. */
extern const struct bus_ops i8042_data_port;
extern const struct bus_ops i8042_command_port;

int i8042_init(struct i8042 *keyboard, struct guest_events *events,
	       struct err *err);
void i8042_release(struct i8042 *keyboard);

#endif
