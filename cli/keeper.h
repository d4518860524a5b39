/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper that a machine's disks need, and the disks of a snapshot. */
#ifndef CLI_KEEPER_H
#define CLI_KEEPER_H

#include "cli/cli.h"

/*
 * For a machine that is about to start: *out is a keeper of the store that its
 * images stand on, which is started if need be, or NULL where they stand on
 * none. Only to start one takes a passphrase, or `vms` (may be NULL), which is
 * open, and its passphrase kept.
 */
int cli_keeper_for(struct cli *cli, const char *home,
		   const struct vms_machine *machine, struct vms *vms,
		   struct vms_keeper **out, struct err *err);
/* The keeper of `vms`, which is open; its passphrase was kept. */
int cli_keeper_start(struct cli *cli, const char *home, const char *location,
		     struct vms *vms, struct vms_keeper **out, struct err *err);

/* ---- run_disks.c ---- */

/* `run NAME --from SNAPSHOT`: its disks as images of the machine's own. */
struct run_snapshot {
	struct vms *vms; /* NULL: there is no --from */
	struct snapshot snapshot;
	struct vs_io *io;
	size_t made; /* images that are there */
};
/* Finds it, and names an image for each of its disks in `machine`, whose name is
 * set and whose disks have room. */
int run_snapshot_find(struct cli *cli, const char *home,
		      struct run_snapshot *from, struct vms_machine *machine,
		      struct err *err);
/* Makes them: the machine's directory is there. */
int run_snapshot_make(struct cli *cli, struct run_snapshot *from,
		      const struct vms_machine *machine, struct err *err);
/* Those that were made go, with their pins. */
void run_snapshot_undo(struct run_snapshot *from,
		       const struct vms_machine *machine);
void run_snapshot_release(struct run_snapshot *from);

/*
 * The images in the directory of a machine that is to be removed, and is held,
 * go, with their pins; with --force also where the pins must stay. All stay
 * where their store can't be opened.
 */
int run_disks_remove(struct cli *cli, const char *home, const char *name,
		     struct err *err);

#endif
