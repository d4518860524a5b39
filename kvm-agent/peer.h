/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket and those who are connected to it, on a loop, never blocking: what
 * the sockets of a machine have in common. All by the loop's thread.
 */
#ifndef KVM_AGENT_PEER_H
#define KVM_AGENT_PEER_H

#include "format/base/bytes.h"
#include "format/base/loop.h"

#define PEER_UNREAD_MAX   (256u * 1024) /* then it is hung up on */
#define PEER_UNREAD_PAUSE (64u * 1024)  /* then nothing is taken from it */

struct peers;

struct peer {
	struct peers *peers;
	struct peer *next;
	struct loop_watch watch;
	struct bytes out;
	size_t sent;
	bool held;   /* by peer_hold() */
	bool deaf;   /* sending failed */
	bool closed; /* freed once nobody is inside of it */
};

struct peers_ops {
	/* How large one is; struct peer comes first. Zeroed. */
	size_t peer_size;
	/* Both: < 0 hangs up. */
	int (*greet)(struct peer *peer);
	int (*receive)(struct peer *peer, const char *data, size_t size);
	/* Both may be NULL. Some of what was unread has been read; and: the
	 * peer is gone, after its last call. */
	void (*sent)(struct peer *peer);
	void (*gone)(struct peer *peer);
};

/* Takes `listener` over in any case. What connects and isn't of our user is
 * hung up on; so is one too many. */
int peers_new(struct peers **out, struct loop *loop, int listener,
	      unsigned count_max, const struct peers_ops *ops, void *owner,
	      struct err *err);
/* Sends what goes without waiting, and hangs up. NULL is ignored. */
void peers_free(struct peers *peers);
void *peers_owner(const struct peers *peers);

/* `fn` for each of those connected; it may send, hold and hang up. */
void peers_each(struct peers *peers, void (*fn)(struct peer *peer, void *arg),
		void *arg);

/* To be sent; -ENOBUFS: too much is unread, and the peer is hung up on. */
int peer_send(struct peer *peer, const void *data, size_t size);
/* How much of it is not on its way yet. */
size_t peer_unread(const struct peer *peer);
/* After what it may still read. */
void peer_hang_up(struct peer *peer);
/* Take nothing from it until released. */
void peer_hold(struct peer *peer, bool held);

#endif
