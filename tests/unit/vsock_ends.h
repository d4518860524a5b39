/* SPDX-License-Identifier: Apache-2.0 */
/* A guest and ends for the tests of a virtio-vsock's connections. After
 * cmocka.h. */
#ifndef TESTS_UNIT_VSOCK_ENDS_H
#define TESTS_UNIT_VSOCK_ENDS_H

#include <errno.h>
#include <string.h>

#include "kvm-agent/vsock/vsock.h"

#define ENDS       300u
#define LISTENED   80u   /* the host's port that somebody serves */
#define GUEST_PORT 1000u /* of the guest's own connections */
#define GUEST_ROOM (128u * 1024)

struct end {
	bool used, closed, shut_write, shut_read;
	uint32_t opened; /* port, or 0 */
	size_t takes;    /* bytes, until more is given */
	bool takes_none; /* writes fail */
	const char *says;
	size_t say_size;
	bool ends; /* after what it says */
	bool broken;
	size_t got;
	uint8_t last;
};

struct rig {
	struct vsock vsock;
	struct vsock_hooks hooks;
	struct end ends[ENDS];
	unsigned end_count;
	unsigned ticks_asked;
	bool refuses;
	uint8_t data[VSOCK_DATA_MAX];
	struct vsock_header header; /* of the packet that came last */
	uint64_t came;              /* its data */
};

static inline int on_connect(struct vsock_hooks *hooks, unsigned id,
			     uint32_t port, void **end)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);

	assert_true(id < VSOCK_CONNECTIONS_MAX);
	if (port != LISTENED || rig->refuses)
		return -ECONNREFUSED;
	assert_true(rig->end_count < ENDS);
	*end = &rig->ends[rig->end_count];
	rig->ends[rig->end_count++] =
		(struct end){ .used = true, .takes = SIZE_MAX };
	return 0;
}

static inline int on_opened(struct vsock_hooks *hooks, void *arg, uint32_t port)
{
	struct end *end = arg;

	(void)hooks;
	assert_int_equal(end->opened, 0);
	end->opened = port;
	return end->takes_none ? -EPIPE : 0;
}

static inline ssize_t on_read(struct vsock_hooks *hooks, void *arg, void *data,
			      size_t size)
{
	struct end *end = arg;
	size_t n = min_u64(size, end->say_size);

	(void)hooks;
	assert_true(size && !end->closed && !end->shut_read);
	if (end->broken)
		return -ECONNRESET;
	if (!n)
		return end->ends ? 0 : -EAGAIN;
	memcpy(data, end->says, n);
	end->says += n;
	end->say_size -= n;
	return (ssize_t)n;
}

static inline ssize_t on_write(struct vsock_hooks *hooks, void *arg,
			       const void *data, size_t size)
{
	struct end *end = arg;
	size_t n = min_u64(size, end->takes);

	(void)hooks;
	assert_true(!end->closed && !end->shut_write);
	if (end->takes_none)
		return -EPIPE;
	if (!n)
		return -EAGAIN;
	end->takes -= n;
	end->got += n;
	end->last = ((const uint8_t *)data)[n - 1];
	return (ssize_t)n;
}

static inline void on_shut(struct vsock_hooks *hooks, void *arg,
			   bool sends_none)
{
	struct end *end = arg;

	(void)hooks;
	assert_false(end->closed);
	assert_false(sends_none ? end->shut_write : end->shut_read);
	*(sends_none ? &end->shut_write : &end->shut_read) = true;
}

static inline void on_closed(struct vsock_hooks *hooks, void *arg)
{
	struct end *end = arg;

	(void)hooks;
	assert_true(end->used && !end->closed);
	end->closed = true;
}

static inline void on_tick(struct vsock_hooks *hooks)
{
	container_of(hooks, struct rig, hooks)->ticks_asked++;
}

static inline struct rig *start(void)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	rig->hooks =
		(struct vsock_hooks){ on_connect, on_opened, on_read, on_write,
				      on_shut,    on_closed, on_tick };
	vsock_init(&rig->vsock, &rig->hooks);
	return rig;
}

static inline void finish(struct rig *rig)
{
	vsock_reset(&rig->vsock);
	for (unsigned i = 0; i < rig->end_count; i++)
		assert_true(rig->ends[i].closed);
	assert_false(vsock_has_some(&rig->vsock));
	test_free(rig);
}

/* ---- the guest ---- */

struct packet {
	unsigned op;
	uint32_t port, host_port, length, flags, room, forwarded;
};

static inline struct vsock_header header_of(const struct packet *packet)
{
	return (struct vsock_header){
		.from_cid = le64_make(VSOCK_GUEST_CID),
		.to_cid = le64_make(VSOCK_HOST_CID),
		.from_port = le32_make(packet->port),
		.to_port = le32_make(packet->host_port),
		.length = le32_make(packet->length),
		.type = le16_make(VSOCK_STREAM),
		.op = le16_make((uint16_t)packet->op),
		.flags = le32_make(packet->flags),
		.room = le32_make(packet->room),
		.forwarded = le32_make(packet->forwarded),
	};
}

/* On the guest's connection `n` to the port that is served. */
static inline void send_packet(struct rig *rig, unsigned n, unsigned op,
			       uint32_t length, uint32_t flags)
{
	struct packet packet = { op,    GUEST_PORT + n, LISTENED, length,
				 flags, GUEST_ROOM,     0 };
	struct vsock_header header = header_of(&packet);

	assert_true(vsock_can_take(&rig->vsock));
	vsock_take(&rig->vsock, &header, rig->data, length);
}

static inline void send_credit(struct rig *rig, unsigned n, uint32_t room,
			       uint32_t forwarded)
{
	struct packet packet = { VSOCK_CREDIT, GUEST_PORT + n, LISTENED, 0, 0,
				 room,         forwarded };
	struct vsock_header header = header_of(&packet);

	vsock_take(&rig->vsock, &header, NULL, 0);
}

/* The answer of the guest's port 22 to the host's. */
static inline void answer(struct rig *rig, uint32_t host_port, unsigned op)
{
	struct packet packet = { op, 22, host_port, 0, 0, GUEST_ROOM, 0 };
	struct vsock_header header = header_of(&packet);

	vsock_take(&rig->vsock, &header, NULL, 0);
}

static inline void nothing(struct rig *rig)
{
	static uint8_t data[VSOCK_DATA_MAX];

	if (vsock_give(&rig->vsock, &rig->header, data, sizeof(data)))
		fail_msg("op %u came", le16_get(rig->header.op));
	assert_false(vsock_has_some(&rig->vsock));
}

/* The next packet is this; its flags. */
static inline uint32_t came(struct rig *rig, unsigned op, uint32_t host_port,
			    uint32_t port)
{
	static uint8_t data[VSOCK_DATA_MAX];

	assert_true(vsock_has_some(&rig->vsock));
	assert_int_equal(
		vsock_give(&rig->vsock, &rig->header, data, sizeof(data)), 1);
	assert_int_equal(le16_get(rig->header.op), op);
	assert_int_equal(le32_get(rig->header.from_port), host_port);
	assert_int_equal(le32_get(rig->header.to_port), port);
	return le32_get(rig->header.flags);
}

static inline uint32_t came_to(struct rig *rig, unsigned n, unsigned op)
{
	return came(rig, op, LISTENED, GUEST_PORT + n);
}

/* The guest's connection `n`, open. */
static inline struct end *connect_guest(struct rig *rig, unsigned n)
{
	send_packet(rig, n, VSOCK_REQUEST, 0, 0);
	came_to(rig, n, VSOCK_RESPONSE);
	nothing(rig);
	return &rig->ends[rig->end_count - 1];
}

static inline unsigned id_of(const struct rig *rig, const struct end *end)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		if (rig->vsock.connections[i].end == end)
			return i;
	}
	fail();
	return 0;
}

static inline void says(struct rig *rig, struct end *end, const char *text,
			size_t size)
{
	end->says = text;
	end->say_size = size;
	vsock_ready(&rig->vsock, id_of(rig, end), true, false, false);
}

static inline void takes(struct rig *rig, struct end *end, size_t size)
{
	end->takes = size;
	vsock_ready(&rig->vsock, id_of(rig, end), false, true, false);
}

#endif
