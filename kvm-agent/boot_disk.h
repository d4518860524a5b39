/* SPDX-License-Identifier: Apache-2.0 */
/* The first disk of a machine as what it boots from. */
#ifndef KVM_AGENT_BOOT_DISK_LOOK_H
#define KVM_AGENT_BOOT_DISK_LOOK_H

#include "kvm-agent/boot/disk.h"
#include "kvm-agent/disks.h"

struct boot_disk;

/* A way of its own to the first disk, which `path` names; it is closed before
 * `disks` is. */
int boot_disk_open(struct boot_disk **out, const struct disks *disks,
		   const char *path, struct err *err);
/* NULL is ignored. */
void boot_disk_close(struct boot_disk *disk);

/*
 * Looks into it, while no guest runs; the board may hold it open meanwhile.
 * The errors of disk_finder_look().
 */
int boot_disk_look(struct boot_disk *disk, struct disk_finder *finder,
		   struct disk_boot *out, struct err *err);

#endif
