/* SPDX-License-Identifier: Apache-2.0 */
/* See device_state.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/rig/device_state.h"

void device_state_save(struct device *device, struct state_writer *out)
{
	assert_int_equal(state_begin(out, NULL), 0);
	device_save(device, out);
	assert_int_equal(state_finish(out, NULL), 0);
}

int device_state_restore(struct device *device,
			 const struct state_writer *saved, struct err *err)
{
	struct state state;

	assert_int_equal(
		state_open(&state, saved->bytes.data, saved->bytes.size, err),
		0);
	return device_restore(device, &state, err);
}

void device_state_same(const struct state_writer *a,
		       const struct state_writer *b)
{
	assert_int_equal(a->bytes.size, b->bytes.size);
	assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.size);
}
