/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ID comes from the host's random numbers and from nothing else: one that
 * is derived from a time or a counter is the same in two clones that start
 * together. The saved one is kept for one purpose: the new one must differ.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/vmgenid.h"
#include "kvm-agent/vm/layout.h"

int vmgenid_publish(struct vmgenid *genid, struct err *err)
{
	int r;

	pthread_mutex_lock(&genid->lock);
	r = memory_write(genid->memory, gpa_make(LAYOUT_VMGENID), genid->id,
			 sizeof(genid->id));
	pthread_mutex_unlock(&genid->lock);
	return r < 0 ? err_sys(err, r, "the guest's generation ID") : 0;
}

/* The same ID: a machine that starts again is no clone. */
static void reset(struct device *device)
{
	(void)device;
}

static void save(struct device *device, struct state_writer *out)
{
	struct vmgenid *genid = container_of(device, struct vmgenid, device);

	pthread_mutex_lock(&genid->lock);
	section_put_bytes(out, genid->id, sizeof(genid->id));
	pthread_mutex_unlock(&genid->lock);
}

static int restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	struct vmgenid *genid = container_of(device, struct vmgenid, device);
	uint8_t old[VMGENID_SIZE], id[VMGENID_SIZE];
	int r;

	section_get_bytes(in, old, sizeof(old));
	r = section_done(in, err);
	if (r < 0)
		return r;
	do {
		r = random_fill(id, sizeof(id), err);
		if (r < 0)
			return r;
	} while (memcmp(id, old, sizeof(id)) == 0);
	pthread_mutex_lock(&genid->lock);
	memcpy(genid->id, id, sizeof(id));
	pthread_mutex_unlock(&genid->lock);
	r = vmgenid_publish(genid, err);
	if (r < 0)
		return r;
	acpi_pm_raise(genid->pm, LAYOUT_GPE_VMGENID);
	return 0;
}

static const struct device_ops vmgenid_ops = {
	.name = "vmgenid",
	.version = 1,
	.reset = reset,
	.save = save,
	.restore = restore,
};

int vmgenid_init(struct vmgenid *genid, const struct memory *memory,
		 struct acpi_pm *pm, struct err *err)
{
	int r;

	*genid = (struct vmgenid){ .device = { .ops = &vmgenid_ops },
				   .memory = memory,
				   .pm = pm };
	r = random_fill(genid->id, sizeof(genid->id), err);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&genid->lock, NULL);
	if (r)
		return err_sys(err, -r, "lock of the generation ID");
	return 0;
}

void vmgenid_release(struct vmgenid *genid)
{
	pthread_mutex_destroy(&genid->lock);
}
