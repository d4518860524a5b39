/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every device can do besides its work: be reset, and be saved and
 * restored while no vCPU runs and its queues are drained. restore(save(x)) is
 * x, and a test of each device says so.
 */
#ifndef KVM_AGENT_VM_DEVICE_H
#define KVM_AGENT_VM_DEVICE_H

#include "kvm-agent/state/section.h"

struct device;

struct device_ops {
	const char *name; /* of its section */
	unsigned version; /* of what save writes; restore reads it and older */
	/* As after power-on. vCPUs may run: the guest asked for it. */
	void (*reset)(struct device *device);
	/* Between section_begin() and section_end(), by device_save(). */
	void (*save)(struct device *device, struct state_writer *out);
	/* All or nothing: -EBADMSG with words, and the device is as it was.
	 * Takes every field, then section_done(), then checks. */
	int (*restore)(struct device *device, struct section_reader *in,
		       struct err *err);
};

/* The first member of each device. */
struct device {
	const struct device_ops *ops;
	unsigned instance; /* disk 0, disk 1, ... */
};

static inline void device_save(struct device *device, struct state_writer *out)
{
	section_begin(out, device->ops->name, device->instance,
		      device->ops->version);
	device->ops->save(device, out);
	section_end(out);
}

static inline int device_restore(struct device *device,
				 const struct state *state, struct err *err)
{
	struct section_reader in;
	int r = state_find(state, device->ops->name, device->instance,
			   device->ops->version, &in, err);

	if (r < 0)
		return r;
	return device->ops->restore(device, &in, err);
}

#endif
