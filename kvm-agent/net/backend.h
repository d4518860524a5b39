/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind a virtio-net: a tap interface, or passt. One descriptor,
 * never waited on, for one thread: the I/O thread, whose loop watches it. All
 * is opened before; what is left to do are read, writev, recv, sendmsg and, on
 * a tap, ioctl(TUNSETOFFLOAD).
 */
#ifndef KVM_AGENT_NET_BACKEND_H
#define KVM_AGENT_NET_BACKEND_H

#include <sys/uio.h>

#include "format/base/base.h"
#include "format/base/le.h"

#define NET_FRAME_MIN    14u            /* an Ethernet header */
#define NET_FRAME_MAX    (65535u + 18u) /* the largest IP packet, with VLAN */
#define NET_SEGMENTS_MAX 256u           /* of one frame that is sent */

/* In front of each frame: what is left to be done to it. virtio 1.x, 5.1.6,
 * and as a tap has it. */
struct net_header {
	uint8_t flags, gso_type;
	le16 header_length, gso_size;
	le16 checksum_start, checksum_offset;
	le16 buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "virtio 1.x, 5.1.6");

#define NET_NEEDS_CHECKSUM 1u /* flags */
#define NET_GSO_NONE       0u /* gso_type */
#define NET_GSO_TCP4       1u
#define NET_GSO_TCP6       4u

/* What may be left to be done to a frame that is received. */
#define NET_OFFLOAD_CHECKSUM 1u
#define NET_OFFLOAD_TCP4     2u
#define NET_OFFLOAD_TCP6     4u

struct net_frame {
	struct net_header header;
	const uint8_t *data; /* the backend's, until the next is received */
	size_t length;       /* NET_FRAME_MIN to NET_FRAME_MAX; 0: none */
};

struct net_backend;

struct net_backend_ops {
	const char *name;
	/* 1; 0: none yet. -EPIPE: it is gone and stays so. */
	int (*receive)(struct net_backend *backend, struct net_frame *out);
	/*
	 * All of the frame or nothing. -EAGAIN: not now, it can be written to
	 * later. -ENETDOWN: the same, and its interface is switched off.
	 * -EPIPE: gone. Others: this frame is not to its liking.
	 */
	int (*send)(struct net_backend *backend,
		    const struct net_header *header,
		    const struct iovec *segments, unsigned count,
		    size_t length);
	/* It can be written to: what it kept of a frame goes out. 0, -EPIPE;
	 * NULL: it keeps nothing. */
	int (*flush)(struct net_backend *backend);
	/* NET_OFFLOAD_...; NULL: it has none. */
	void (*set_offloads)(struct net_backend *backend, unsigned offloads);
	void (*free)(struct net_backend *backend);
};

struct net_backend {
	const struct net_backend_ops *ops;
	int fd;
	bool unsent; /* it keeps a part of a frame until it can be written to */
};

/* A tap's queue, attached, with IFF_NO_PI and IFF_VNET_HDR. Takes `fd` over in
 * any case. -EINVAL: it is none. */
int net_tap_new(struct net_backend **out, int fd, struct err *err);
/* A stream socket with passt at its other end: each frame has its length in
 * front, 4 bytes, big-endian. Takes `fd` over in any case. */
int net_passt_new(struct net_backend **out, int fd, struct err *err);

/* NULL is ignored. */
static inline void net_backend_free(struct net_backend *backend)
{
	if (backend)
		backend->ops->free(backend);
}

#endif
