/* SPDX-License-Identifier: Apache-2.0 */
/* Host's ends that take and say as much as an input allows, and check that none
 * is used after it was closed. For the targets of virtio-vsock. */
#ifndef TESTS_FUZZ_VSOCK_ENDS_H
#define TESTS_FUZZ_VSOCK_ENDS_H

#include <errno.h>
#include <string.h>

#include "kvm-agent/vsock/vsock.h"
#include "tests/fuzz/fix.h"

static struct {
	bool used[VSOCK_CONNECTIONS_MAX];
	size_t takes, says;
	int code; /* what is said when there is neither */
} ends;

static inline bool *end_new(void)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		if (!ends.used[i]) {
			ends.used[i] = true;
			return &ends.used[i];
		}
	}
	return NULL;
}

static inline int ends_connect(struct vsock_hooks *hooks, unsigned id,
			       uint32_t port, void **end)
{
	(void)hooks;
	must(id < VSOCK_CONNECTIONS_MAX);
	if (port % 4 == 3)
		return -ENOENT;
	*end = end_new();
	must(*end != NULL);
	return 0;
}

static inline int ends_opened(struct vsock_hooks *hooks, void *end,
			      uint32_t port)
{
	(void)hooks;
	must(*(bool *)end && port >= VSOCK_PORT_FIRST);
	return port % 8 == 7 ? -EPIPE : 0;
}

static inline ssize_t ends_read(struct vsock_hooks *hooks, void *end,
				void *data, size_t size)
{
	size_t n = size < ends.says ? size : ends.says;

	(void)hooks;
	must(*(bool *)end && size && size <= VSOCK_DATA_MAX);
	memset(data, 0x33, n);
	ends.says -= n;
	return n ? (ssize_t)n : ends.code;
}

static inline ssize_t ends_write(struct vsock_hooks *hooks, void *end,
				 const void *data, size_t size)
{
	size_t n = size < ends.takes ? size : ends.takes;
	uint8_t sum = 0;

	(void)hooks;
	must(*(bool *)end && size <= VSOCK_DATA_MAX);
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
	__asm__ volatile("" ::"r"(sum));
	ends.takes -= n;
	return n ? (ssize_t)n : ends.code ? ends.code : -EAGAIN;
}

static inline void ends_shut(struct vsock_hooks *hooks, void *end,
			     bool sends_none)
{
	(void)hooks;
	(void)sends_none;
	must(*(bool *)end);
}

static inline void ends_closed(struct vsock_hooks *hooks, void *end)
{
	(void)hooks;
	must(*(bool *)end);
	*(bool *)end = false;
}

static inline void ends_tick(struct vsock_hooks *hooks)
{
	(void)hooks;
}

/* None but those of connections are there. */
static inline void ends_check(const struct vsock *vsock)
{
	unsigned used = 0, named = 0;

	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		const struct vsock_connection *connection =
			&vsock->connections[i];

		used += ends.used[i];
		named += connection->end != NULL;
		must(connection->received - connection->forwarded <=
		     VSOCK_ROOM);
		must(!connection->kept ||
		     connection->received != connection->forwarded);
	}
	must(used == named);
}

/* What they do from here on, by one byte. */
static inline void ends_set(unsigned how)
{
	static const int codes[] = { -EAGAIN, -EAGAIN, -EAGAIN, 0, -EPIPE };

	ends.takes = (size_t)(how % 16) * 5000;
	ends.says = (size_t)(how / 16) * 5000;
	ends.code = codes[how % 5];
}

#define ENDS_HOOKS                                                           \
	{                                                                    \
		ends_connect, ends_opened, ends_read, ends_write, ends_shut, \
			ends_closed, ends_tick                               \
	}

#endif
