/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net under virtio_bytes.h, with frames and headers of the input's that
 * come in, and a host that refuses, goes down and goes for ever. */
#include <errno.h>

#include "kvm-agent/virtio/net.h"
#include "tests/fuzz/virtio_bytes.h"
#include "tests/rig/net_fake.h"

static struct net_fake fake;

static void give(struct bytes_guest *guest)
{
	static uint8_t data[NET_FRAME_MAX];
	uint64_t length = bytes_take(guest, 2);
	struct net_header header = { 0 };

	header.flags = (uint8_t)bytes_take(guest, 1);
	header.gso_type = (uint8_t)bytes_take(guest, 1);
	if (length >= NET_FRAME_MIN &&
	    !fake.frames[(fake.next + 8) % NET_FAKE_FRAMES].data)
		net_fake_give(&fake, &header, data, (size_t)length);
}

static void also(struct bytes_guest *guest)
{
	static const int codes[] = { -EAGAIN, -ENETDOWN, -EINVAL, -EAGAIN };
	unsigned how = (unsigned)bytes_take(guest, 1);

	if (how & 1)
		give(guest);
	fake.code = codes[how >> 1 & 3];
	fake.refusals = how >> 3 & 3;
	if (how == 0xff)
		fake.gone = true;
	fake.backend.unsent |= how == 0x80;
	guest_settle(&guest->guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct net_options options = { .backend = &fake.backend,
					     .mac = { 0x52, 0x54 },
					     .mtu = 1500 };
	struct bytes_guest guest = { 0 };
	static struct net net;

	bytes_begin(&guest);
	net_fake_init(&fake, !size || data[size - 1] & 1);
	must(net_init(&net, 0, &guest.guest.host, &options, NULL) == 0);
	bytes_run(&guest, &net.virtio, data, size, also);
	net_release(&net);
	net_fake_release(&fake);
	guest_release(&guest.guest);
	return 0;
}
