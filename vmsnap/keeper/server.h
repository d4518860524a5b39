/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's server: an open store, its cache, two sockets, until nobody needs
 * it any more. Private. */
#ifndef VMSNAP_KEEPER_SERVER_H
#define VMSNAP_KEEPER_SERVER_H

#include "vmsnap/vmsnap.h"

struct keeper_server_options {
	struct vms *vms;     /* outlives it */
	size_t cache_bytes;  /* 0: the default */
	int control, agents; /* listening (keeper_listen()), the caller's */
	uint64_t watcher;    /* the process that starts it again, for status */
	uint64_t start;      /* how often it did */
	uint64_t grace_ms;   /* without connections until it ends */
	/* What is no failure of the server, for people; any thread. */
	void (*log)(void *arg, const char *text);
	void *arg;
	/* Peers can come. May be NULL. */
	void (*ready)(void *arg);
};

/* 0: it was told to end, or nobody was there any more. */
int keeper_server_run(const struct keeper_server_options *options,
		      struct err *err);

#endif
