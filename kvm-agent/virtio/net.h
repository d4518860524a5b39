/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net over a net/backend.h: one queue each way, buffers that are merged,
 * and what a tap leaves to be done to a frame or takes over. Locks and threads
 * as transport.h says; the backend is the I/O thread's alone.
 *
 * A network loses frames: none is under way for a save, and what a full or a
 * stopped guest does not take stays with the host until it is dropped there.
 */
#ifndef KVM_AGENT_VIRTIO_NET_H
#define KVM_AGENT_VIRTIO_NET_H

#include "kvm-agent/net/backend.h"
#include "kvm-agent/virtio/transport.h"

#define NET_MAC_SIZE   6u
#define NET_QUEUE_SIZE 256u
#define NET_MTU_MIN    68u

struct net_hooks {
	/* With the device's lock held, by the I/O thread: it only notes it.
	 * `why` is for people, and static. */
	void (*link)(struct net_hooks *hooks, bool up, const char *why);
};

struct net_counters {
	uint64_t received_frames, received_bytes, received_dropped;
	uint64_t sent_frames, sent_bytes, sent_dropped;
};

enum net_link {
	NET_UP,
	NET_DOWN, /* until it can be written to again */
	NET_GONE, /* for ever */
};

struct net {
	struct virtio virtio;
	struct net_backend *backend;
	struct net_hooks *hooks;
	struct loop_watch watch; /* fd: -1 when it is gone */

	/* With virtio.lock. */
	uint8_t mac[NET_MAC_SIZE];
	uint16_t mtu; /* 0: it is not known */
	enum net_link link;
	bool told_up; /* what the driver has been told of the link */
	bool offloads_due;
	bool wants_frames;      /* the guest has room, as far as we know */
	bool send_blocked;      /* a frame waits in the queue */
	struct net_frame frame; /* for which there was no room */
	struct net_counters counters;
	struct virtqueue_chain first, chain; /* at hand */
	struct virtqueue_used used[NET_QUEUE_SIZE];
};

struct net_options {
	struct net_backend *backend;
	uint8_t mac[NET_MAC_SIZE];
	uint16_t mtu;            /* NET_MTU_MIN or more; 0: it is not known */
	struct net_hooks *hooks; /* or NULL */
};

/* Backend and hooks stay the caller's, and outlive it. */
int net_init(struct net *net, unsigned instance, const struct virtio_host *host,
	     const struct net_options *options, struct err *err);
void net_release(struct net *net);

/* Any thread. */
void net_count(struct net *net, struct net_counters *out, bool *up);

#endif
