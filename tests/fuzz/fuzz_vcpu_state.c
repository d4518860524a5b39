/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a saved vCPU, from any bytes: what is taken is written the
 * same again. */
#include "kvm-agent/vm/vcpu_state.h"
#include "tests/fuzz/fix.h"

static void put(struct state_writer *out, const void *data, size_t size)
{
	struct err err;

	must(state_begin(out, &err) == 0);
	section_begin(out, VCPU_SECTION, 3, 1);
	section_put_bytes(out, data, size);
	section_end(out);
	must(state_finish(out, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_writer first, second;
	struct vcpu_image image;
	struct state state;
	struct err err;

	must(vcpu_image_init(&image, &err) == 0);
	put(&first, data, size);
	must(state_open(&state, first.bytes.data, first.bytes.size, &err) == 0);
	if (vcpu_state_get(&image, 3, &state, &err) == 0) {
		must(state_begin(&second, &err) == 0);
		vcpu_state_put(&image, 3, &second);
		must(state_finish(&second, &err) == 0);
		must(first.bytes.size == second.bytes.size);
		must(!memcmp(first.bytes.data, second.bytes.data,
			     first.bytes.size));
		state_release(&second);
	}
	state_release(&first);
	vcpu_image_release(&image);
	return 0;
}
