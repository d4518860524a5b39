/* SPDX-License-Identifier: Apache-2.0 */
/* What the Unix sockets of a program have in common. */
#ifndef FORMAT_BASE_SOCKET_H
#define FORMAT_BASE_SOCKET_H

#include <stdbool.h>

/* The peer has this process's user id, or 0 (SO_PEERCRED). */
bool socket_peer_is_ours(int fd);

/* This process is the only user of a user namespace, where the kernel has no
 * number for root: the file's mode, 0600, alone tells it from others, and has
 * done so at connect(). */
void socket_accept_nobody(void);

#endif
