/* SPDX-License-Identifier: Apache-2.0 */
/* Who starts the keeper's server, and starts it again when it dies. Private. */
#ifndef VMSNAP_KEEPER_WATCHER_H
#define VMSNAP_KEEPER_WATCHER_H

#include "vmsnap/vmsnap.h"

struct watcher_options {
	const char *location;
	uint8_t store[VMS_STORE_ID_SIZE];
	int directory;  /* the keeper's folder */
	int ready;      /* gets "ok\n", or a code and words; closed then */
	int passphrase; /* -1: none */
};

/* Until a server ends well, or can't begin; an exit status. */
int watcher_run(const struct watcher_options *options);

#endif
