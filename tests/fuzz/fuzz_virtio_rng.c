/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng, and with it all that virtio devices share: virtio_bytes.h. */
#include "kvm-agent/virtio/rng.h"
#include "tests/fuzz/virtio_bytes.h"

static int fill(void *data, size_t size, struct err *err)
{
	(void)err;
	memset(data, 'r', size);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_guest guest = { 0 };
	struct rng rng;

	bytes_begin(&guest);
	must(rng_init(&rng, 0, &guest.guest.host, NULL) == 0);
	rng.fill = fill;
	bytes_run(&guest, &rng.virtio, data, size, NULL);
	rng_release(&rng);
	guest_release(&guest.guest);
	return 0;
}
