/* SPDX-License-Identifier: Apache-2.0 */
/* One disk of a diff. Private to diff*.c. */
#ifndef VMSNAP_DIFF_H
#define VMSNAP_DIFF_H

#include "vmsnap/engine.h"

struct diff_disk {
	struct store_thread *thread;
	vms_diff_fn *fn; /* may be NULL */
	void *arg;
	const struct volume *a, *b;
	struct vms_diff_disk *out;
	uint64_t start, end;           /* a run not yet told */
	struct vms_progress *progress; /* may be NULL */
	uint64_t before;               /* of it: the disks that are done */
};

/* All of the disk up to there was looked at. -ECANCELED: to be stopped. */
int diff_reached(struct diff_disk *diff, uint64_t offset, struct err *err);

/* [start, end) differs; ranges ascend. Cut at the larger size, joined to the
 * run before where it touches. */
int diff_found(struct diff_disk *diff, uint64_t start, uint64_t end,
	       struct err *err);
int diff_flush(struct diff_disk *diff, struct err *err);

/* Two volumes: as vms_diff(), `fn` gets a's name. */
int diff_volumes(struct vms *vms, const struct volume *a,
		 const struct volume *b, vms_diff_fn *fn, void *arg,
		 struct err *err);

/* diff_content.c: by content, for other chunk sizes. */
int diff_content(struct diff_disk *diff, struct err *err);

#endif
