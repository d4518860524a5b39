/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of QEMU's pvpanic: a read tells which bits are understood, a
 * write of one says what happened. It has no state, and says so in its section.
 */
#include <string.h>

#include "kvm-agent/devices/pvpanic.h"

#define PANICKED     0x01u
#define CRASH_LOADED 0x02u

static void port_read(void *device, uint64_t offset, void *data,
		      unsigned length)
{
	(void)device;
	(void)offset;
	memset(data, 0, length);
	*(uint8_t *)data = PANICKED | CRASH_LOADED;
}

static void port_write(void *device, uint64_t offset, const void *data,
		       unsigned length)
{
	struct pvpanic *panic = device;
	uint8_t what = *(const uint8_t *)data;

	(void)offset;
	(void)length;
	if (what & PANICKED)
		guest_events_tell(panic->events, GUEST_PANICKED);
	if (what & CRASH_LOADED)
		guest_events_tell(panic->events, GUEST_CRASH_LOADED);
}

const struct bus_ops pvpanic_port = { port_read, port_write };

static void reset(struct device *device)
{
	(void)device;
}

static void save(struct device *device, struct state_writer *out)
{
	(void)device;
	(void)out;
}

static int restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	(void)device;
	return section_done(in, err);
}

static const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.version = 1,
	.reset = reset,
	.save = save,
	.restore = restore,
};

void pvpanic_init(struct pvpanic *panic, struct guest_events *events)
{
	*panic = (struct pvpanic){ .device = { .ops = &pvpanic_ops },
				   .events = events };
}
