/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_AGENT_SANDBOX_IDMAP_H
#define KVM_AGENT_SANDBOX_IDMAP_H

#include "kvm-agent/sandbox/sandbox.h"

/*
 * A user namespace for mount_setattr(): through a mount with it `owner` and
 * `user` have changed places, and so have `group` and the group of that number.
 * For root. A descriptor, or -errno.
 */
int idmap_open(uid_t owner, gid_t group, uid_t user);

#endif
