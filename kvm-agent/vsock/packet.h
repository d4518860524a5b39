/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-vsock's packets look like: virtio 1.x, 5.10.6. */
#ifndef KVM_AGENT_VSOCK_PACKET_H
#define KVM_AGENT_VSOCK_PACKET_H

#include "format/base/le.h"

struct vsock_header {
	le64 from_cid, to_cid;
	le32 from_port, to_port;
	le32 length; /* of what follows */
	le16 type, op;
	le32 flags;
	le32 room;      /* what its sender keeps for the connection */
	le32 forwarded; /* of what it got, what it keeps no more; wraps */
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "virtio 1.x, 5.10.6");

#define VSOCK_HOST_CID     2u
#define VSOCK_GUEST_CID    3u
#define VSOCK_CID_MAX      0xfffffffeu

#define VSOCK_STREAM       1u

#define VSOCK_REQUEST      1u
#define VSOCK_RESPONSE     2u
#define VSOCK_RESET        3u
#define VSOCK_SHUTDOWN     4u
#define VSOCK_DATA         5u
#define VSOCK_CREDIT       6u /* takes note of room and forwarded */
#define VSOCK_CREDIT_ASKED 7u

/* Flags of a shutdown: its sender takes no more, sends no more. */
#define VSOCK_TAKES_NONE 1u
#define VSOCK_SENDS_NONE 2u

#endif
