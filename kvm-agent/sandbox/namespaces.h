/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_AGENT_SANDBOX_NAMESPACES_H
#define KVM_AGENT_SANDBOX_NAMESPACES_H

#include "kvm-agent/sandbox/sandbox.h"

enum {
	NAMESPACES_NONE,    /* this host doesn't let us, and `why` says so */
	NAMESPACES_OF_ROOT, /* as this user */
	NAMESPACES_OF_USER, /* in a user namespace with this user alone */
};

/*
 * The process, which has one thread, gets namespaces of its own: mounts, as
 * they are and out of the host's sight; a network without an interface; IPC;
 * the host's name. One of the above, or -errno.
 */
int namespaces_enter(char why[ERR_TEXT_MAX], struct err *err);

#endif
