/* SPDX-License-Identifier: Apache-2.0 */
/* The first disk of a machine as what it boots from. */
#ifndef KVM_AGENT_BOOT_DISK_LOOK_H
#define KVM_AGENT_BOOT_DISK_LOOK_H

#include "kvm-agent/boot/disk.h"
#include "kvm-agent/disks.h"

/*
 * Looks into the first disk, which `path` names, while no guest runs; the
 * board may hold it open meanwhile. The errors of disk_finder_look().
 */
int boot_disk_look(struct disk_finder *finder, const struct disks *disks,
		   const char *path, struct disk_boot *out, struct err *err);

#endif
