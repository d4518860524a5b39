/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine's agent gets of a keeper, for machine_start.c. Private. */
#ifndef VMSNAP_MACHINE_KEEPER_H
#define VMSNAP_MACHINE_KEEPER_H

#include "vmsnap/engine.h"

/* A grant for each of its images that stands on something, one behind the
 * other, to be read to their end; a descriptor. */
int machine_grants(const struct vms_machine *machine, struct vms_keeper *keeper,
		   struct err *err);

#endif
