/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock in user space: stream sockets between the guest, CID 3, and the
 * host, CID 2. The connections are those of vsock/vsock.h, under the device's
 * lock; the host's ends are behind its hooks.
 */
#ifndef KVM_AGENT_VIRTIO_VSOCK_H
#define KVM_AGENT_VIRTIO_VSOCK_H

#include "kvm-agent/virtio/transport.h"
#include "kvm-agent/vsock/vsock.h"

struct virtio_vsock {
	struct virtio virtio;
	struct vsock vsock;
	bool event_due; /* the guest is to hear that all connections are gone */
	bool held;      /* no packet is taken until the guest takes some */
	uint8_t data[VSOCK_DATA_MAX]; /* of the packet at hand */
};

/* The hooks are called by the I/O thread, but `closed` by a vCPU's as well, all
 * with the device's lock held. They outlive it. */
int virtio_vsock_init(struct virtio_vsock *device, unsigned instance,
		      const struct virtio_host *host, struct vsock_hooks *hooks,
		      struct err *err);
void virtio_vsock_release(struct virtio_vsock *device);

/* By the I/O thread, without the lock: as vsock_open(), with -ENOTCONN where
 * the guest has no driver for it, and the others of vsock.h. */
int virtio_vsock_open(struct virtio_vsock *device, uint32_t guest_port,
		      void *end);
void virtio_vsock_ready(struct virtio_vsock *device, unsigned id, bool readable,
			bool writable, bool hung_up);
bool virtio_vsock_tick(struct virtio_vsock *device);

#endif
