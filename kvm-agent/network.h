/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's network by what vmsnap handed over: a tap, or a socket with
 * passt behind it, and the address. Opened for the board, closed after it.
 * What the I/O thread notices of the link is passed on to the control thread.
 */
#ifndef KVM_AGENT_NETWORK_H
#define KVM_AGENT_NETWORK_H

#include "format/base/loop.h"
#include "kvm-agent/board.h"

struct network_options {
	int tap, passt; /* descriptors, taken over; -1: not this one */
	const char *mac, *mtu;
};

struct network {
	struct net_options device; /* backend NULL: there is none */
	struct net_hooks hooks;
	struct loop *control;
	struct loop_work work;
	/* By the control thread; `words` for people. */
	void (*told)(void *arg, bool up, const char *words);
	void *arg;

	pthread_mutex_t lock; /* of these */
	bool changed, up;
	const char *why;
};

/* -EINVAL: both, a descriptor that is neither, an address that is none. */
int network_open(struct network *network, struct network_options *options,
		 struct loop *control,
		 void (*told)(void *arg, bool up, const char *words), void *arg,
		 struct err *err);
/* What the board is to have of it. */
void network_connect(struct network *network, struct board_options *board);
/* After the board. A zeroed one is left alone. */
void network_close(struct network *network);

#endif
