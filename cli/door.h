/* SPDX-License-Identifier: Apache-2.0 */
/* What `mount` and `nbd` share: they become another program. */
#ifndef CLI_DOOR_H
#define CLI_DOOR_H

#include <limits.h>

#include "cli/cli.h"

/* Beside this program, or in ../libexec/vmsnap. -EOPNOTSUPP: not installed. */
int door_find(const char *name, char path[PATH_MAX], struct err *err);
/*
 * A pipe that holds the passphrase which opened the store, for the program to
 * come; *fd is -1 when it needs none. cli->keep_passphrase was set before
 * cli_open().
 */
int door_passphrase(struct cli *cli, int *fd, struct err *err);
/* The words of a command line, NULL after the last. */
struct door_words {
	const char *words[32];
	unsigned count;
};
void door_word(struct door_words *words, const char *word);
/* Becomes the program; comes back only with an error. */
int door_exec(const char *path, const struct door_words *words,
	      struct err *err);

#endif
