/* SPDX-License-Identifier: Apache-2.0 */
/* What the Unix sockets of a program have in common. */
#ifndef FORMAT_BASE_SOCKET_H
#define FORMAT_BASE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

/* The peer has this process's user id, or 0 (SO_PEERCRED). */
bool socket_peer_is_ours(int fd);

/* This process is the only user of a user namespace, where the kernel has no
 * number for root: the file's mode, 0600, alone tells it from others, and has
 * done so at connect(). */
void socket_accept_nobody(void);

/* All of it, by as many calls as that takes, of a stream. -EPIPE: the peer is
 * gone. */
int socket_send_all(int fd, const void *data, size_t size);
int socket_receive_all(int fd, void *data, size_t size);

#endif
