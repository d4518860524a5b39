/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs about machines share. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include <limits.h>

#include "cli/cli.h"

/* --home, VMSNAP_HOME, or the user's own. */
int cli_home(const struct cli *cli, char home[PATH_MAX], struct err *err);

/* Each machine that the arguments name, or with --all each there is that `fits`
 * (NULL: each). What fails is told, the others go on; the worst status. */
int cli_each_machine(struct cli *cli,
		     bool (*fits)(const struct vms_machine_status *status),
		     int (*run)(struct cli *cli, const char *home,
				const char *name, struct err *err),
		     struct err *err);

#endif
