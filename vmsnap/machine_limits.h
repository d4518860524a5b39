/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine may use of its host at most: a control group (cgroup v2) of
 * its own. Private. */
#ifndef VMSNAP_MACHINE_LIMITS_H
#define VMSNAP_MACHINE_LIMITS_H

#include <jansson.h>

#include "vmsnap/engine.h"

bool machine_limits_any(const struct vms_machine_limits *limits);
/* -EINVAL. */
int machine_limits_check(const struct vms_machine_limits *limits,
			 struct err *err);
/* NULL: no memory. */
json_t *machine_limits_document(const struct vms_machine_limits *limits);
/* -EBADMSG. NULL as value: there are none. */
int machine_limits_get(const json_t *value, struct vms_machine_limits *out);

/*
 * A new group of the machine in `directory`, with these limits and nobody in it:
 * a descriptor, to which a process that is to be in it writes "0". For root:
 * -EOPNOTSUPP where this host has no such group, or for another user.
 */
int machine_group_open(int directory, const char *name,
		       const struct vms_machine_limits *limits,
		       struct err *err);
/* The kernel has ended a process of the group, which wanted more memory than it
 * may have, since it was made. False also where that can't be known. */
#define MACHINE_RAN_OUT                                                  \
	"the kernel ended its agent, which needed more memory than its " \
	"limit: see --memory-max"
bool machine_group_ran_out(int directory, const char *name);
/* Gone, if nobody is in it. */
void machine_group_remove(int directory, const char *name);

#endif
