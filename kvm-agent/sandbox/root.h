/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_AGENT_SANDBOX_ROOT_H
#define KVM_AGENT_SANDBOX_ROOT_H

#include "kvm-agent/sandbox/sandbox.h"

/* In a mount namespace of its own: from here on only the views are there. One
 * that lies in another is put over it; one that isn't there is left out. */
int root_change(const struct sandbox_view *views, unsigned count,
		struct err *err);

#endif
