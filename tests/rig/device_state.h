/* SPDX-License-Identifier: Apache-2.0 */
/* A state that holds one device and nothing else, for tests. */
#ifndef TESTS_RIG_DEVICE_STATE_H
#define TESTS_RIG_DEVICE_STATE_H

#include "kvm-agent/state/section.h"
#include "kvm-agent/vm/device.h"

/* What fails here fails the test. Released by state_release(). */
void device_state_save(struct device *device, struct state_writer *out);
/* As device_restore(). */
int device_state_restore(struct device *device,
			 const struct state_writer *saved, struct err *err);
/* Byte for byte, or the test fails. */
void device_state_same(const struct state_writer *a,
		       const struct state_writer *b);

#endif
