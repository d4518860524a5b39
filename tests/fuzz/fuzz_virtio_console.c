/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console under virtio_bytes.h, with a host that takes as much as the
 * input says, comes and goes, and types. */
#include "kvm-agent/virtio/console.h"
#include "tests/fuzz/virtio_bytes.h"

static struct virtio_console console;
static size_t takes;

static size_t output(struct console_hooks *hooks, enum console_port_id port,
		     const void *data, size_t size)
{
	size_t n = size < takes ? size : takes;

	(void)hooks;
	must(port < CONSOLE_PORTS && data && size);
	takes -= n;
	return n;
}

static void also(struct bytes_guest *guest)
{
	unsigned how = (unsigned)bytes_take(guest, 1);
	enum console_port_id port = how & 1;

	takes = how;
	if (how & 2)
		virtio_console_set_open(&console, port, how & 4);
	if (how & 8)
		virtio_console_output_ready(&console, port);
	must(virtio_console_input(&console, port, "0123456789abcdef",
				  how / 16) <= how / 16);
	guest_settle(&guest->guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct console_hooks hooks = { .output = output };
	struct bytes_guest guest = { 0 };

	bytes_begin(&guest);
	must(virtio_console_init(&console, 0, &guest.guest.host, &hooks,
				 NULL) == 0);
	bytes_run(&guest, &console.virtio, data, size, also);
	virtio_console_release(&console);
	guest_release(&guest.guest);
	return 0;
}
