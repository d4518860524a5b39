/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs about machines share. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include <limits.h>

#include "cli/cli.h"

/* --home, VMSNAP_HOME, or the user's own. */
int cli_home(const struct cli *cli, char home[PATH_MAX], struct err *err);

/* What a verb does to machines. */
struct machine_verb {
	const char *done; /* the word for it */
	bool (*fits)(const struct vms_machine_status *status); /* NULL: each */
	/* CLI_NOT_NEEDED: with --all it is passed over. */
	int (*run)(struct cli *cli, const char *home, const char *name,
		   struct err *err);
};
#define CLI_NOT_NEEDED 1

/*
 * To each machine that the arguments name, or with --all to each there is that
 * fits. What was done is told, of one name or in one document of several; what
 * fails too, and the others go on; the first failure's status.
 */
int cli_each_machine(struct cli *cli, const struct machine_verb *verb,
		     struct err *err);

#endif
