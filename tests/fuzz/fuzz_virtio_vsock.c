/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock under virtio_bytes.h: its rings, registers and state, over ends
 * that do what the input says. fuzz_vsock.c has the connections alone. */
#include "kvm-agent/virtio/vsock.h"
#include "tests/fuzz/virtio_bytes.h"
#include "tests/fuzz/vsock_ends.h"

static struct virtio_vsock vsock;

static void also(struct bytes_guest *guest)
{
	unsigned how = (unsigned)bytes_take(guest, 1);
	bool *end;

	ends_set((unsigned)bytes_take(guest, 1));
	if (how & 1)
		(void)virtio_vsock_tick(&vsock);
	if (how & 2)
		virtio_vsock_ready(&vsock, how / 16, how & 4, how & 4, how & 8);
	else if (how & 4 && (end = end_new()) &&
		 virtio_vsock_open(&vsock, how / 16, end) < 0)
		*end = false;
	guest_settle(&guest->guest);
	ends_check(&vsock.vsock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vsock_hooks hooks = ENDS_HOOKS;
	struct bytes_guest guest = { 0 };

	memset(&ends, 0, sizeof(ends));
	bytes_begin(&guest);
	must(virtio_vsock_init(&vsock, 0, &guest.guest.host, &hooks, NULL) ==
	     0);
	bytes_run(&guest, &vsock.virtio, data, size, also);
	virtio_vsock_release(&vsock);
	guest_release(&guest.guest);
	return 0;
}
