/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_AGENT_SANDBOX_ROOT_H
#define KVM_AGENT_SANDBOX_ROOT_H

#include "kvm-agent/sandbox/sandbox.h"

/* In a mount namespace of its own: from here on only the views are there. One
 * that lies in another is put over it; one that isn't there is left out. A
 * folder to write to becomes the user's own, as it looks from here (0: nobody
 * else's than it is); where one can't, *user is 0. */
int root_change(const struct sandbox_view *views, unsigned count, uid_t *user,
		struct err *err);

#endif
