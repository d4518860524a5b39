/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.sock: what others may ask of the machine, spec/protocol.md. One
 * thread, the loop's, which waits for nothing: a request that takes its time
 * holds up the peer that sent it, and nobody else.
 */
#ifndef KVM_AGENT_CONTROL_H
#define KVM_AGENT_CONTROL_H

#include "format/base/loop.h"
#include "kvm-agent/virtio/net.h"

#define CONTROL_PEERS_MAX 16u

enum control_action {
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_POWER_BUTTON,
	CONTROL_RESET,
	CONTROL_STOP,
};

struct control_status {
	const char *state;        /* a word of the spec; static */
	char cause[ERR_TEXT_MAX]; /* empty: none */
	unsigned cpus;
	uint64_t memory_bytes, resident_bytes, balloon_bytes;
	uint64_t uptime_ns, cpu_ns;
	bool has_net, net_up;
	struct net_counters net;
};

struct control_ops {
	void (*status)(void *machine, struct control_status *out);
	/* 1: it has begun, and control_answer() tells how it went. -EINVAL: not
	 * in this state. A stop only begins here. */
	int (*act)(void *machine, enum control_action action, struct err *err);
	/* The guest is to keep so much of its RAM, 1 byte at least. -EINVAL:
	 * as above, or more than it has. */
	int (*balloon)(void *machine, uint64_t target_bytes, struct err *err);
};

struct control;

/* Takes `listener` over in any case; `name` is copied. */
int control_new(struct control **out, struct loop *loop, int listener,
		const char *name, const struct control_ops *ops, void *machine,
		struct err *err);
/* Sends what goes without waiting. NULL is ignored. */
void control_free(struct control *control);

/* The answer to all requests that have begun and have none: 0, or -errno with
 * words. */
void control_answer(struct control *control, int code, const char *text);

/* To everybody who asked for events. `text` may be NULL. */
void control_event(struct control *control, const char *event,
		   const char *state, const char *text);
void control_device_event(struct control *control, const char *device,
			  unsigned instance, const char *text);

#endif
