/* SPDX-License-Identifier: Apache-2.0 */
/* What the Unix sockets of a program have in common. */
#ifndef FORMAT_BASE_SOCKET_H
#define FORMAT_BASE_SOCKET_H

#include <stdbool.h>

/* The peer has this process's user id, or 0 (SO_PEERCRED). */
bool socket_peer_is_ours(int fd);

#endif
