/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serial port: a 16550A. What the guest sends goes out by a callback at
 * once, as over an endlessly fast line, so that no vCPU ever waits; what comes
 * in waits in the caller's hands until the guest has taken what came before.
 */
#ifndef KVM_AGENT_DEVICES_SERIAL_H
#define KVM_AGENT_DEVICES_SERIAL_H

#include <pthread.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/interrupts.h"

#define SERIAL_PORTS 8u
#define SERIAL_FIFO  16u

/* Called on a vCPU's thread, with the port's lock held: neither blocks, nor
 * calls the port. */
struct serial_line {
	void (*output)(struct serial_line *line, const uint8_t *data,
		       size_t size);
	/* There is room again; after an input that was not taken whole. */
	void (*room)(struct serial_line *line);
};

struct serial {
	struct device device;
	pthread_mutex_t lock; /* of all below */
	struct interrupts *interrupts;
	unsigned gsi;
	struct serial_line *line;

	uint8_t input[SERIAL_FIFO];
	unsigned input_count;
	uint8_t received; /* the last byte that was read */
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t lsr_errors; /* overrun, break: until LSR is read */
	uint8_t msr_changes;
	uint16_t divisor;
	bool sent;      /* the transmitter ran empty; until IIR told */
	bool wants;     /* an input was refused */
	bool interrupt; /* the level of its wire */
};

extern const struct bus_ops serial_ops;

void serial_init(struct serial *serial, struct interrupts *interrupts,
		 unsigned gsi, struct serial_line *line);
void serial_release(struct serial *serial);

/* Any thread. How many were taken: all, or less and then line->room(). */
size_t serial_input(struct serial *serial, const uint8_t *data, size_t size);

#endif
