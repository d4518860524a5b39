/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a virtio-vsock alone: packets of the guest in any order,
 * with ports that meet, and ends that come, go, stall and break. */
#include "format/base/bytes.h"
#include "tests/fuzz/vsock_ends.h"

static struct vsock vsock;
static uint8_t data[VSOCK_DATA_MAX];

static uint32_t take(struct reader *in, unsigned size)
{
	const void *at = reader_take(in, size);
	uint32_t value = 0;

	if (at)
		memcpy(&value, at, size);
	else
		in->left = 0;
	return value;
}

/* Of four guest's ports and eight of the host's, the first of them its own. */
static void send_packet(struct reader *in)
{
	unsigned ports = take(in, 1), op = take(in, 1), size = take(in, 2);
	uint32_t host = ports / 4 % 8;
	struct vsock_header header = {
		.from_cid = le64_make(op & 0x80 ? take(in, 1) : 3),
		.to_cid = le64_make(op & 0x40 ? take(in, 1) : 2),
		.from_port = le32_make(ports % 4),
		.to_port = le32_make(host < 4 ? VSOCK_PORT_FIRST + host : host),
		.length = le32_make(op & 0x20 ? take(in, 4) : size),
		.type = le16_make((uint16_t)(op & 0x10 ? take(in, 1) : 1)),
		.op = le16_make(op & 0xf),
		.flags = le32_make(ports / 32),
		.room = le32_make(take(in, 3)),
		.forwarded = le32_make(take(in, 3)),
	};

	if (vsock_can_take(&vsock))
		vsock_take(&vsock, &header, data, size);
}

static void take_packet(unsigned how)
{
	struct vsock_header header;
	size_t room = (size_t)how * 300;

	if (!vsock_has_some(&vsock)) {
		must(!vsock_give(&vsock, &header, data, room));
		return;
	}
	if (vsock_give(&vsock, &header, data, room))
		must(le32_get(header.length) <= room);
}

static void step(struct reader *in)
{
	bool *end;

	switch (take(in, 1) % 8) {
	case 0:
		end = end_new();
		if (end && vsock_open(&vsock, take(in, 1) % 4, end) < 0)
			*end = false;
		break;
	case 1:
		ends_set(take(in, 1));
		break;
	case 2:
		vsock_ready(&vsock, take(in, 1), true, true, false);
		break;
	case 3:
		vsock_ready(&vsock, take(in, 1) % 8, take(in, 1) & 1,
			    take(in, 1) & 1, take(in, 1) & 1);
		break;
	case 4:
		(void)vsock_tick(&vsock);
		break;
	case 5:
		take_packet(take(in, 1));
		break;
	default:
		send_packet(in);
		break;
	}
	ends_check(&vsock);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct vsock_hooks hooks = ENDS_HOOKS;
	struct reader in = { bytes, size };

	memset(&ends, 0, sizeof(ends));
	ends.code = -EAGAIN;
	vsock_init(&vsock, &hooks);
	for (unsigned i = 0; in.left && i < 5000; i++)
		step(&in);
	vsock_reset(&vsock);
	ends_check(&vsock);
	return 0;
}
