/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine as others find it: its sockets, its console's log, and how it
 * ended. Who starts the agent opens all of it and hands it over as descriptors
 * (spec/machine.md), so that no name is needed here. The control thread's.
 */
#ifndef KVM_AGENT_SERVICE_H
#define KVM_AGENT_SERVICE_H

#include "kvm-agent/machine.h"

/* Taken over, -1: none. */
struct service_fds {
	int control; /* listening sockets */
	int console;
	int log;   /* console.log */
	int end;   /* end.json */
	int ready; /* a byte goes there once the guest runs */
	int lock;  /* held until the process ends */
};

struct service;

/*
 * `mirror` gets what the guest prints as well; may be NULL. `quit`: a client
 * asked for the end, with the machine switched off. Takes the descriptors over
 * in any case. `name` outlives it.
 */
int service_new(struct service **out, const char *name,
		const struct service_fds *fds, struct loop *loop,
		struct serial_line *mirror, void (*quit)(void *arg), void *arg,
		struct err *err);
/* The machine's serial port is to have this line; then the machine itself,
 * until service_disconnect(). */
struct serial_line *service_line(struct service *service);
int service_connect(struct service *service, struct machine *machine,
		    struct err *err);
void service_disconnect(struct service *service);

/* There was no machine to begin with, and why: in end.json, whose descriptor is
 * still open. Instead of service_changed(). */
void service_no_start(const struct service_fds *fds, const char *words);
/* The guest runs. */
void service_ready(struct service *service);
/* As the machine's hooks hear it, or of a client's doing. `words` may be NULL.
 * Of an end it says in end.json how it came. */
void service_changed(struct service *service, enum machine_state state,
		     const char *words);
void service_befell(struct service *service, const struct news_item *item);
void service_told(struct service *service, enum guest_event event);
/* The network's link is another. */
void service_link(struct service *service, bool up, const char *words);

/* Hangs up. NULL is ignored. */
void service_free(struct service *service);

#endif
