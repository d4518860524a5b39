/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend of virtio-net in the test's hands: gives the frames that it was
 * given, keeps the last that was sent, fails as it is told. Its descriptor is
 * readable once for several frames, as a stream that was read ahead is.
 */
#ifndef TESTS_RIG_NET_FAKE_H
#define TESTS_RIG_NET_FAKE_H

#include "kvm-agent/net/backend.h"

#define NET_FAKE_FRAMES 1024u

struct net_fake {
	struct net_backend backend;
	struct net_backend_ops ops;
	struct {
		struct net_header header;
		uint8_t *data;
		size_t length;
	} frames[NET_FAKE_FRAMES]; /* to be received, a ring */
	unsigned first, next;
	unsigned asked; /* how often for a frame */
	bool gone;

	int code;          /* of the next sends; 0: they are taken */
	unsigned refusals; /* so many of them; then they are taken */
	struct net_header sent_header;
	uint8_t sent[NET_FRAME_MAX];
	size_t sent_length;
	unsigned sent_count, flushes, offloads, offload_calls;
};

void net_fake_init(struct net_fake *fake, bool has_offloads);
void net_fake_release(struct net_fake *fake);
/* A frame to be received; the data is copied. */
void net_fake_give(struct net_fake *fake, const struct net_header *header,
		   const void *data, size_t length);

#endif
