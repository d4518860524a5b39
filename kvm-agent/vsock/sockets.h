/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's ends of a virtio-vsock: clients of vsock.sock, who say which port
 * of the guest they want, and the guest's own connections, to vsock_PORT.sock
 * in the machine's directory. spec/protocol.md. All of it is the I/O thread's,
 * but for the hook `closed`.
 */
#ifndef KVM_AGENT_VSOCK_SOCKETS_H
#define KVM_AGENT_VSOCK_SOCKETS_H

#include "format/base/listener.h"
#include "kvm-agent/virtio/vsock.h"

#define VSOCK_CALLERS_MAX 32u /* who have not said where to yet */

struct vsock_end;

struct vsock_sockets {
	struct vsock_hooks hooks; /* to give to the device */
	int listener;
	bool connects;
	struct loop *loop;
	struct virtio_vsock *device;
	struct listener accepting;
	struct loop_watch timer; /* a tick, while something has a limit */
	uint64_t tick_ns;        /* a second; a test has less time */
	bool ticking;
	unsigned callers;
	struct vsock_end *first; /* all ends */
};

/* Takes the listening socket over. `connects`: the working directory is the
 * machine's, now and for ever; else the guest can't connect to the host. */
void vsock_sockets_init(struct vsock_sockets *sockets, int listener,
			bool connects);
/* With a device that was made with its hooks; before the loop runs. */
int vsock_sockets_start(struct vsock_sockets *sockets, struct loop *loop,
			struct virtio_vsock *device, struct err *err);
/* The loop runs no more, and the device is released. One that was zeroed, or is
 * stopped already, is left alone. */
void vsock_sockets_stop(struct vsock_sockets *sockets);

#endif
