/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon under virtio_bytes.h, with a host that changes its mind. What
 * it gives back may be its own rings. */
#include "kvm-agent/virtio/balloon.h"
#include "tests/fuzz/virtio_bytes.h"

static struct balloon balloon;

static void also(struct bytes_guest *guest)
{
	unsigned how = (unsigned)bytes_take(guest, 1);

	if (how & 1)
		balloon_set_target(&balloon, bytes_take(guest, 4));
	must(balloon_bytes(&balloon) <= GUEST_RAM);
	must(balloon.target <= GUEST_RAM / BALLOON_PAGE_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_guest guest = { 0 };

	bytes_begin(&guest);
	must(balloon_init(&balloon, 0, &guest.guest.host, NULL) == 0);
	bytes_run(&guest, &balloon.virtio, data, size, also);
	balloon_release(&balloon);
	guest_release(&guest.guest);
	return 0;
}
