/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a virtio-vsock: packets of the guest come in, packets for
 * it go out, and hooks lead to the host's ends. No I/O of its own, no clock, no
 * lock: one thread at a time, and no hook calls back.
 *
 * All is bounded, whatever the guest sends or does not take: a connection
 * keeps VSOCK_ROOM bytes for the host's end and none for the guest's. What the
 * guest is to be told is a bit a connection; refusals of what is no connection
 * wait in a list, and when that is full nothing more is to be taken.
 */
#ifndef KVM_AGENT_VSOCK_VSOCK_H
#define KVM_AGENT_VSOCK_VSOCK_H

#include <sys/types.h>

#include "format/base/base.h"
#include "kvm-agent/vsock/packet.h"

#define VSOCK_CONNECTIONS_MAX 256u
#define VSOCK_ROOM            (64u * 1024)
#define VSOCK_DATA_MAX        (64u * 1024) /* of one packet */
#define VSOCK_REFUSALS_MAX    64u
/* Of the ports of the host's own ends. */
#define VSOCK_PORT_FIRST 0x40000000u

/* In calls of vsock_tick(): of a guest that is to answer; of a host that is to
 * take the last bytes. */
#define VSOCK_ANSWER_TICKS 10u
#define VSOCK_DRAIN_TICKS  60u

struct vsock_hooks {
	/* The guest asks for a port: 0 and the host's end, or -errno. */
	int (*connect)(struct vsock_hooks *hooks, unsigned id, uint32_t port,
		       void **end);
	/* The guest has taken what an end asked for; -errno: it is gone. */
	int (*opened)(struct vsock_hooks *hooks, void *end, uint32_t port);
	/* What the end sends: how much; 0: it sends no more; -EAGAIN: nothing
	 * now, vsock_ready() when there is. Any other: it is broken. */
	ssize_t (*read)(struct vsock_hooks *hooks, void *end, void *data,
			size_t size);
	/* What it takes of this: how much; -EAGAIN: nothing now, vsock_ready()
	 * when it does. Any other: it takes no more. */
	ssize_t (*write)(struct vsock_hooks *hooks, void *end, const void *data,
			 size_t size);
	/* The guest sends no more, or takes no more. */
	void (*shut)(struct vsock_hooks *hooks, void *end, bool sends_none);
	/* It is over: the end is not named again. */
	void (*closed)(struct vsock_hooks *hooks, void *end);
	/* Something has a limit in time: vsock_tick() every second, until
	 * that says no. */
	void (*tick)(struct vsock_hooks *hooks);
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_ASKING,   /* the guest is asked, and has not answered */
	VSOCK_OPEN,     /* it is open, at least one way */
	VSOCK_DRAINING, /* the guest is done with it, the host's end not yet */
	VSOCK_ENDING,   /* over, but for a reset that the guest is to get */
};

struct vsock_connection {
	enum vsock_state state;
	uint32_t guest_port, host_port;
	void *end;
	unsigned due;         /* packets that the guest is to get, a bit each */
	unsigned guest_flags; /* VSOCK_TAKES_NONE, ... of the guest, */
	unsigned host_flags;  /* and of the host's end */
	bool readable;        /* the end may have something for the guest */
	bool shut;            /* the end knows that the guest sends no more */
	bool credit_asked;
	unsigned ticks; /* left; 0: no limit */
	/* To the guest: what it has room for, and took; what it was sent. */
	uint32_t guest_room, guest_forwarded, sent;
	/* From the guest: what came, what left for the host, and what of that
	 * the guest knows. */
	uint32_t received, forwarded, forwarded_told;
	/* What came and did not leave: from `first`, round the end. */
	uint8_t *kept; /* VSOCK_ROOM, or NULL */
	uint32_t first;
};

/* Somebody who is no connection gets a reset. */
struct vsock_refusal {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port;
	uint16_t type;
};

struct vsock {
	struct vsock_hooks *hooks;
	uint64_t guest_cid;
	uint32_t next_port;
	unsigned cursor; /* whose turn it is */
	struct vsock_connection connections[VSOCK_CONNECTIONS_MAX];
	struct vsock_refusal refusals[VSOCK_REFUSALS_MAX];
	unsigned refusal_count;
};

void vsock_init(struct vsock *vsock, struct vsock_hooks *hooks);
/* Every connection is over, and nobody is told but the hooks. */
void vsock_reset(struct vsock *vsock);

/* ---- the guest's side ---- */

/* A packet with `size` bytes behind its header, of which VSOCK_DATA_MAX are in
 * `data`. Only while vsock_can_take(). */
void vsock_take(struct vsock *vsock, const struct vsock_header *header,
		const void *data, uint64_t size);
bool vsock_can_take(const struct vsock *vsock);
/* The next packet for it: 1, with at most `room` bytes of data (and
 * VSOCK_DATA_MAX), as the header says. 0: there is none. */
int vsock_give(struct vsock *vsock, struct vsock_header *header, void *data,
	       size_t room);
/* False: vsock_give() has none. */
bool vsock_has_some(const struct vsock *vsock);

/* ---- the host's side ---- */

/* An end asks the guest for a port: its number; -ENOSPC. */
int vsock_open(struct vsock *vsock, uint32_t guest_port, void *end);
/* The end of this number has something to be read, takes something again, was
 * closed. A number that is not in use is left alone. */
void vsock_ready(struct vsock *vsock, unsigned id, bool readable, bool writable,
		 bool hung_up);
/* True: something still has a limit. */
bool vsock_tick(struct vsock *vsock);

#endif
