/* SPDX-License-Identifier: Apache-2.0 */
/* The packets' way: sockets in a keeper's folder, and a descriptor that goes
 * with a packet. Private. */
#ifndef VMSNAP_KEEPER_SOCKET_H
#define VMSNAP_KEEPER_SOCKET_H

#include <sys/types.h>

#include "vmsnap/keeper/protocol.h"

#define KEEPER_CONTROL "control.sock"
#define KEEPER_AGENTS  "agents"
#define KEEPER_AGENT   "agents.sock" /* in there */

/* Bound in `directory` (one that is there goes: the caller has the lock),
 * listening, not blocking; a descriptor. */
int keeper_listen(int directory, const char *name, mode_t mode,
		  struct err *err);
/* Not blocking. -ENOENT, -ECONNREFUSED: nobody is there. -EAGAIN: too many wait
 * there already. */
int keeper_connect(int directory, const char *name, struct err *err);
/* The same by the folder's path, without words; where that is short, as an
 * address may be, it needs no /proc. */
int keeper_connect_path(const char *folder, const char *name);
/* The same in the thread's current folder. */
int keeper_connect_here(const char *name);

/* Without waiting, and with `descriptor` unless that is -1. -EAGAIN: there is no
 * room; -EPIPE and others: the peer is gone. */
int keeper_send(int fd, const struct keeper_message *message, int descriptor);

/* What came, whatever it is. */
struct keeper_packet_in {
	uint8_t data[KEEPER_PACKET_SIZE + 1]; /* one more: it is too long */
	size_t size;
	unsigned descriptors; /* that came with it, or that had no room */
	int descriptor;       /* the first, the caller's to close; or -1 */
};
/* Without waiting. 1: a packet; 0: the peer is gone; -EAGAIN: none now. */
int keeper_receive(int fd, struct keeper_packet_in *out);

#endif
