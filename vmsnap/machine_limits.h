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
 * The group of the machine in `directory`, with these limits and nobody in it:
 * a descriptor, to which a process that is to be in it writes "0". For root:
 * -EOPNOTSUPP where this host has no such group, or for another user.
 */
int machine_group_open(int directory, const char *name,
		       const struct vms_machine_limits *limits,
		       struct err *err);
/* Gone, if nobody is in it. */
void machine_group_remove(int directory, const char *name);

#endif
