/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where passphrases come from: --passphrase-file, VMSNAP_PASSPHRASE,
 * VMSNAP_PASSPHRASE_COMMAND, a prompt on the terminal, in this order. Never
 * the command line.
 */
#ifndef CLI_PASSPHRASE_H
#define CLI_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>

#include "vmsnap/vmsnap.h"

#define PASSPHRASE_MAX 65536

struct passphrases {
	char *current; /* VMSNAP_PASSPHRASE; NULL: not set */
	char *new;     /* VMSNAP_NEW_PASSPHRASE */
	const char *file, *new_file;
	const char *command;
};

/* Moves the passphrases out of the environment, so that no child and no
 * reader of /proc sees them. Call it before anything else. */
int passphrases_take(struct passphrases *out, struct err *err);
void passphrases_release(struct passphrases *passphrases);

/* Is there one but from a prompt? */
bool passphrases_given(const struct passphrases *passphrases);

/*
 * The passphrase of the store; `is_new` (init): asked for twice. *out is from
 * malloc(), for the caller to wipe and free. -EKEYREJECTED: there is none.
 */
int passphrase_current(const struct passphrases *passphrases, bool is_new,
		       char **out, size_t *size, struct err *err);
/* The one that `key add` and `key change` set. */
int passphrase_new(const struct passphrases *passphrases, char **out,
		   size_t *size, struct err *err);
void passphrase_free(char *passphrase, size_t size);

#endif
