/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's word for who is at the other end, as of its connect(). */
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
