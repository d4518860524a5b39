/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console with two ports: a terminal, and the one that the stock
 * qemu-guest-agent opens. Their bytes go by callbacks; nothing is kept here, so
 * that whoever is slow slows the guest's port down and nothing else.
 */
#ifndef KVM_AGENT_VIRTIO_CONSOLE_H
#define KVM_AGENT_VIRTIO_CONSOLE_H

#include "kvm-agent/virtio/transport.h"

enum console_port_id {
	CONSOLE_TERMINAL,
	CONSOLE_AGENT, /* CONSOLE_AGENT_NAME */
	CONSOLE_PORTS,
};

#define CONSOLE_AGENT_NAME "org.qemu.guest_agent.0"

/* All are called by the I/O thread or a vCPU's with the device's lock held:
 * none calls back. Each may be NULL. */
struct console_hooks {
	/* Takes what it can and says how much; what is left comes again after
	 * virtio_console_output_ready(). NULL: all is dropped. */
	size_t (*output)(struct console_hooks *hooks, enum console_port_id port,
			 const void *data, size_t size);
	/* virtio_console_input() may take more than it did. */
	void (*room)(struct console_hooks *hooks, enum console_port_id port);
	/* The guest's end was opened, or closed. */
	void (*opened)(struct console_hooks *hooks, enum console_port_id port,
		       bool open);
};

struct console_port {
	unsigned pending; /* messages that the guest is to get, a bit each */
	bool ready;       /* the guest has it, and may be told more */
	bool guest_open;
	bool host_open;
	bool told_open;  /* what the guest knows of host_open */
	bool blocked;    /* output took less than there was */
	bool stale;      /* what is in the ring is for nobody any more */
	uint32_t offset; /* of the chain at hand: taken already */
};

struct virtio_console {
	struct virtio virtio;
	struct console_hooks *hooks;
	struct console_port ports[CONSOLE_PORTS];
};

int virtio_console_init(struct virtio_console *console, unsigned instance,
			const struct virtio_host *host,
			struct console_hooks *hooks, struct err *err);
void virtio_console_release(struct virtio_console *console);

/* By the I/O thread, without the lock. */

/* Into what the guest has room for; how many bytes were taken. */
size_t virtio_console_input(struct virtio_console *console,
			    enum console_port_id port, const void *data,
			    size_t size);
/* The output hook takes again. */
void virtio_console_output_ready(struct virtio_console *console,
				 enum console_port_id port);
/* What the guest has sent, and was not taken yet, goes nowhere: whoever comes
 * next does not get the rest of it. */
void virtio_console_drop_output(struct virtio_console *console,
				enum console_port_id port);
/* There is somebody at the host's end, or no longer. */
void virtio_console_set_open(struct virtio_console *console,
			     enum console_port_id port, bool open);

#endif
