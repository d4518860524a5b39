/* SPDX-License-Identifier: Apache-2.0 */
/* One disk of a backup: the workers' part. Private. */
#ifndef VMSNAP_BACKUP_DISK_H
#define VMSNAP_BACKUP_DISK_H

#include "vmsnap/scan.h"

struct backup_disk {
	struct vms *vms;
	const struct vms_backup *backup;
	struct store_thread **threads; /* one a worker */
	struct source *source;
	const struct volume *parent; /* NULL: everything counts as changed */
	struct volume *volume;       /* name, size and chunk size are set; roots
					and bad ranges are filled in */
	struct snapshot_totals *totals; /* added to */
};

/* Runs the workers over the whole disk. */
int backup_disk(struct backup_disk *disk, struct err *err);

#endif
