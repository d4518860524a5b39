/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's network: its description's part, and what an agent is given of
 * it. Private. */
#ifndef VMSNAP_MACHINE_NET_H
#define VMSNAP_MACHINE_NET_H

#include <jansson.h>
#include <sys/types.h>

#include "vmsnap/engine.h"

/* "net" of machine.json; NULL: no memory. */
json_t *machine_net_document(const struct vms_machine_net *net);
/* -EBADMSG. */
int machine_net_get(json_t *document, struct vms_machine_net *out);
/* -EINVAL: what the format does not allow. */
int machine_net_check(const struct vms_machine_net *net, struct err *err);

struct machine_net {
	int fd; /* the agent's end: a tap, or a socket with passt; -1: none */
	unsigned mtu; /* of a tap; 0: not known */
	pid_t passt;  /* not yet known to have started; 0: none */
	int words;    /* what it says, a pipe */
};

/*
 * Opens the interface, or begins to start passt; one that may well fail (it
 * takes ports, or finds no way out) is ready then: no guest runs in vain.
 * -ENONET: this host has no such network now, and what to do about it; -EBUSY:
 * another one uses it.
 */
int machine_net_open(struct machine_net *out, const struct vms_machine_net *net,
		     struct err *err);
/* Until passt is ready, or has failed: -ENONET. It ends by itself when nobody
 * has the other end of its socket any more. */
int machine_net_await(struct machine_net *net, struct err *err);
/* One that is still starting is ended. */
void machine_net_release(struct machine_net *net);

#endif
