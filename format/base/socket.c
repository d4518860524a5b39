/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end is the kernel's word, as of its connect(). */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/base/socket.h"

/* What the kernel shows of users that have no number here; its default. */
#define NOBODY 65534u

static bool accept_nobody;

void socket_accept_nobody(void)
{
	accept_nobody = true;
}

bool socket_peer_is_ours(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0 ||
		(accept_nobody && peer.uid == NOBODY));
}

int socket_send_all(int fd, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int socket_receive_all(int fd, void *data, size_t size)
{
	uint8_t *at = data;

	while (size) {
		ssize_t n = recv(fd, at, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}
