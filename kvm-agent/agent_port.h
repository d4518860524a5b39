/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.sock: the guest agent's port of virtio-console for one client at a
 * time, spec/protocol.md. All of it is the I/O thread's.
 */
#ifndef KVM_AGENT_AGENT_PORT_H
#define KVM_AGENT_AGENT_PORT_H

#include "kvm-agent/peer.h"
#include "kvm-agent/virtio/console.h"

#define AGENT_PORT_HELD_MAX 4096u

struct agent_port {
	struct console_hooks hooks; /* to give to the console */
	int listener;               /* -1: taken over */
	struct loop *loop;
	struct virtio_console *console;
	struct peers *peers;
	struct peer *client; /* NULL: nobody is connected */
	struct loop_work work;
	bool told_open; /* what the console knows of the client */
	/* Of the client's, for which the guest has no room yet. */
	char held[AGENT_PORT_HELD_MAX];
	size_t held_size;
};

/* Takes the listening socket over. */
void agent_port_init(struct agent_port *port, int listener);
/* With a console that was made with its hooks; before the loop runs. */
int agent_port_start(struct agent_port *port, struct loop *loop,
		     struct virtio_console *console, struct err *err);
/* The loop runs no more; the console is still there. One that was zeroed, or
 * is stopped already, is left alone. */
void agent_port_stop(struct agent_port *port);

#endif
